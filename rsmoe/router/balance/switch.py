"""Load balance of Switch Transformers."""

from __future__ import annotations

from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.router.balance.all_ranks import mean_over_ranks
from rsmoe.router.routing import Routing


class SwitchBalance(nn.Module):
    """Load balance loss E * sum_e f_e P_e, 1 when uniform (Switch Transformers, arXiv 2101.03961, equations 4 to 6).

    f_e is the share of the routed weight that expert e received (no gradient), P_e its mean probability, both over the
    batches of all ranks.
    """

    bias: Tensor | None = None

    def __init__(self, *, experts: Positive) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, routing: Routing) -> Tensor:
        """See `rsmoe.router.Balance`."""
        weights, probability = routing.weights.detach(), routing.logits.softmax(-1)
        if not self.training:  # ranks may have different numbers of validation batches
            return self.experts * (weights.mean(0) * probability.mean(0)).sum()
        return self.experts * (mean_over_ranks(weights) * mean_over_ranks(probability)).sum()
