"""Coefficient of variation of importance and load."""

from __future__ import annotations

from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.router.balance.all_ranks import mean_over_ranks
from rsmoe.router.routing import Routing


class Cv2Balance(nn.Module):
    """Squared coefficient of variation of importance and of load: CV(I)^2 + CV(L)^2, 0 when uniform (Shazeer et al.
    2017, arXiv 1701.06538, equations 6, 7 and 11).

    I_e is the sum of the weights of expert e, L_e the number of requests that chose it, over the batches of all ranks;
    CV^2 is variance / mean^2 over the experts that may be chosen. L has a gradient with ``choice=noisy_top_k`` only,
    which knows how probable each choice was.

    Args:
        experts: of the balance contract; unused.
    """

    bias: Tensor | None = None

    def __init__(self, *, experts: Positive) -> None:
        super().__init__()

    def forward(self, routing: Routing) -> Tensor:
        """See `rsmoe.router.Balance`."""
        load = routing.chosen.float() if routing.load is None else routing.load
        mean = mean_over_ranks if self.training else _mean  # ranks may have different numbers of validation batches
        usable = routing.usable()
        return _cv2(mean(routing.weights)[usable]) + _cv2(mean(load)[usable])


def _mean(values: Tensor) -> Tensor:
    return values.mean(0)


def _cv2(share: Tensor) -> Tensor:
    return share.var(correction=0) / share.mean().square()
