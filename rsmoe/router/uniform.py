"""Control: every expert answers every request."""

from __future__ import annotations

from torch import Tensor

from rsmoe.router.fixed import FixedRouter
from rsmoe.router.request import RouterRequest


class UniformRouter(FixedRouter):
    """Uniform routing: w_e = 1/E, an ensemble of all experts; with one expert, the dense twin (``moe=none``)."""

    def chosen(self, request: RouterRequest) -> Tensor:
        """All."""
        return request.allowed.expand(len(request.queries), -1)
