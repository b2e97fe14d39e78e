"""Control: THE TASK IS TOLD. An upper bound for routing by task, never a result."""

from __future__ import annotations

from torch import Tensor

from rsmoe.errors import UserError
from rsmoe.router.fixed import FixedRouter
from rsmoe.router.request import RouterRequest

TOLD = "router=oracle was TOLD THE TASK of every request: these numbers are an upper bound for routing, not a result."
"""For reports."""


class OracleRouter(FixedRouter):
    """Oracle routing: equal weights over the experts that serve the LABEL of the task.

    **This is the one router that is told the task.** Its numbers say how good routing by task could be at best; they
    are no result of a model, which at inference has an image and an instruction and no label. ``metrics.json``
    (``run.router.told_the_task``) and the printed report say so. A request whose task no expert serves goes to all.
    """

    reads_label = True

    def chosen(self, request: RouterRequest) -> Tensor:
        """Experts that serve the label.

        Raises:
            UserError: the request has no label.
        """
        if request.right is None:
            raise UserError("router=oracle needs the label of the task, which this request does not have")
        right = request.right & request.allowed
        return right | ~right.any(-1, keepdim=True)
