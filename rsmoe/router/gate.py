"""Base class of learned routers: logits -> choice of experts, with load balance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import NonNegativeReal
from rsmoe.router import Balance, Choice
from rsmoe.router.request import RouterRequest
from rsmoe.router.routing import RULED_OUT, Routing


class Gate(nn.Module):
    """Logits z of E experts -> `Routing`, in fp32.

    Args:
        choice: builds the `Choice` for ``width`` (of the hidden state) and ``experts``.
        balance: keeps the load even; its bias is added to the logits by which experts are chosen.
        jitter: standard deviation of the noise on the logits in training.
    """

    reads_label = False
    balance: Balance | None

    def __init__(
        self,
        *,
        width: int,
        experts: int,
        choice: Callable[..., Choice],
        balance: Balance,
        jitter: NonNegativeReal = 0.0,
    ) -> None:
        super().__init__()
        self.choice, self.balance, self.jitter = choice(width=width, experts=experts), balance, jitter

    def route(self, logits: Tensor, state: Tensor, request: RouterRequest) -> Routing:
        """(B, E) fp32 logits and the (B, width) hidden state that they were computed from -> `Routing`."""
        if self.training and self.jitter > 0:
            logits = logits + self.jitter * torch.randn_like(logits)
        logits = logits.masked_fill(~request.allowed, RULED_OUT)
        bias = None if self.balance is None else self.balance.bias
        routing = self.choice(logits, by=logits if bias is None else logits + bias, state=state)
        return routing if request.also is None else routing.adding(request.also)
