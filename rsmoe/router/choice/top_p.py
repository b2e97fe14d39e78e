"""Top-p: as many experts as are needed for a given probability in sum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive, Share
from rsmoe.router.routing import Routing


class TopP(nn.Module):
    """Top-p gating: the fewest most probable experts whose p adds up to at least ``p`` (arXiv 2403.07652).

    Args:
        width, experts: of the choice contract; unused.
        p: probability in sum; 0 chooses one expert.
    """

    def __init__(self, *, width: Positive, experts: Positive, p: Share = 0.8) -> None:
        super().__init__()
        self.p = p

    def forward(self, logits: Tensor, *, by: Tensor, state: Tensor) -> Routing:
        """See `rsmoe.router.Choice`."""
        probability, order = by.softmax(-1).sort(dim=-1, descending=True)
        before = probability.cumsum(-1) - probability  # of the more probable ones
        needed = (before < self.p) & (probability > 0)
        needed[:, 0] = True
        return Routing.of(logits, torch.zeros_like(needed).scatter(1, order, needed))
