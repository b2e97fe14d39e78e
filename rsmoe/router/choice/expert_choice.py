"""Expert choice: in training, each expert takes the requests that it fits best."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.router.choice.top_k import most_probable
from rsmoe.router.routing import Routing


class ExpertChoice(nn.Module):
    """Expert-choice routing: each of E experts takes the ceil(B c / E) requests of the batch of highest p, so that all
    carry the same load (Zhou et al. 2022, arXiv 2202.09368). A request that no expert takes goes to its most probable
    one. Weights are p over the chosen experts.

    At inference an answer must not depend on the other requests of a batch: each takes its c most probable experts.

    Args:
        width: of the choice contract; unused.
        capacity: c, experts a request in the mean.
    """

    def __init__(self, *, width: Positive, experts: Positive, capacity: Positive = 2) -> None:
        super().__init__()
        self.capacity = min(capacity, experts)

    def forward(self, logits: Tensor, *, by: Tensor, state: Tensor) -> Routing:
        """See `rsmoe.router.Choice`."""
        if not self.training or not len(by):
            return Routing.of(logits, most_probable(by, self.capacity))
        probability = by.softmax(-1)
        usable = int((probability > 0).any(0).sum())
        most = min(len(by), math.ceil(len(by) * self.capacity / usable))
        top = probability.topk(most, dim=0)
        taken = torch.zeros_like(probability, dtype=torch.bool).scatter(0, top.indices, top.values > 0)
        return Routing.of(logits, taken | most_probable(by, 1) & ~taken.any(-1, keepdim=True))
