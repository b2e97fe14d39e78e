"""Sigmoid scores: experts do not compete for probability."""

from __future__ import annotations

from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.router.choice.top_k import most_probable
from rsmoe.router.routing import Routing


class Sigmoid(nn.Module):
    """Sigmoid gating: scores s_e = sigmoid(z_e), the k highest, with weights s_e / sum of s over the chosen
    (DeepSeek-V3, arXiv 2412.19437, equations 12 to 15). Losses see the distribution s_e / sum of s over all experts.

    Args:
        width: of the choice contract; unused.
        k: experts a request; all of them where there are fewer.
    """

    def __init__(self, *, width: Positive, experts: Positive, k: Positive = 2) -> None:
        super().__init__()
        self.k = min(k, experts)

    def forward(self, logits: Tensor, *, by: Tensor, state: Tensor) -> Routing:
        """See `rsmoe.router.Choice`."""
        # softmax of the log of the scores is their share of the sum
        return Routing.of(nn.functional.logsigmoid(logits), most_probable(by, self.k))
