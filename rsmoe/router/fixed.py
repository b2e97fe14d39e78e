"""Base class of routers without weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.router import Balance, Choice
from rsmoe.router.request import RouterRequest
from rsmoe.router.routing import RULED_OUT, Routing


class FixedRouter(nn.Module, ABC):
    """A control that learns nothing and holds no weights, so that it can stand in a trained model.

    ``choice`` and ``balance`` are not used, and ``teach_routing_steps`` has no effect on it.

    Args:
        experts: E; the others of the router contract are unused.
    """

    reads_label = False
    balance: Balance | None = None

    def __init__(
        self,
        *,
        width: Positive,
        memory_width: Positive,
        vocab_size: Positive,
        experts: Positive,
        choice: Callable[..., Choice],
        balance: Balance,
    ) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, request: RouterRequest) -> Routing:
        """See `rsmoe.router.Router`."""
        chosen = self.chosen(request) & request.allowed
        return Routing.of(chosen.float().masked_fill(~chosen, RULED_OUT), chosen)

    @abstractmethod
    def chosen(self, request: RouterRequest) -> Tensor:
        """(B, E) bool: the experts that share a request equally, at least one of them among the allowed."""
