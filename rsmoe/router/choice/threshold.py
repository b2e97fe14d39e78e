"""Threshold: as many experts as a request needs, up to k."""

from __future__ import annotations

from torch import Tensor, nn

from rsmoe.checks.ranges import Positive, Share
from rsmoe.router.choice.top_k import most_probable
from rsmoe.router.routing import Routing


class Threshold(nn.Module):
    """Threshold gating: of the k most probable experts those with p >= ``threshold``, and always the most probable one.

    Args:
        width: of the choice contract; unused.
        k: most experts a request.
        threshold: least probability of the others.
    """

    def __init__(self, *, width: Positive, experts: Positive, k: Positive = 3, threshold: Share = 0.1) -> None:
        super().__init__()
        self.k, self.threshold = min(k, experts), threshold

    def forward(self, logits: Tensor, *, by: Tensor, state: Tensor) -> Routing:
        """See `rsmoe.router.Choice`."""
        probable = by.softmax(-1) >= self.threshold
        return Routing.of(logits, most_probable(by, self.k) & probable | most_probable(by, 1))
