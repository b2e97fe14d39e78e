"""Top-k: always as many experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.router.routing import Routing


class TopK(nn.Module):
    """Top-k gating: the k most probable experts, with weights p_e / sum of p over the chosen (Switch Transformers,
    arXiv 2101.03961, with k = 1; Mixtral, arXiv 2401.04088, with k = 2).

    Args:
        width: of the choice contract; unused.
        k: experts a request; all of them where there are fewer.
    """

    def __init__(self, *, width: Positive, experts: Positive, k: Positive = 2) -> None:
        super().__init__()
        self.k = min(k, experts)

    def forward(self, logits: Tensor, *, by: Tensor, state: Tensor) -> Routing:
        """See `rsmoe.router.Choice`."""
        return Routing.of(logits, most_probable(by, self.k))


def most_probable(logits: Tensor, k: int) -> Tensor:
    """(B, E) bool: the k highest logits of each row, without experts of probability 0."""
    probability = logits.softmax(-1)
    top = probability.topk(k, dim=-1)
    return torch.zeros_like(probability, dtype=torch.bool).scatter(1, top.indices, top.values > 0)
