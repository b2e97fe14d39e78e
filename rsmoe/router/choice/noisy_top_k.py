"""Noisy top-k: noise of a learned size lets every expert be tried in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.router.choice.top_k import most_probable
from rsmoe.router.routing import Routing


class NoisyTopK(nn.Module):
    """Noisy top-k gating: h = z + n * softplus(W x) with n ~ N(0, 1) in training, then the k highest h, with weights
    softmax(h) over them (Shazeer et al. 2017, arXiv 1701.06538, equations 3 to 5). At inference h = z.

    `Routing.load` is the probability that an expert is among the k if its noise is drawn again (equations 8 and 9), so
    that ``balance=cv2`` has a gradient for the load.

    Args:
        width: of the gate's hidden state x.
        k: experts a request; all of them where there are fewer.
    """

    def __init__(self, *, width: Positive, experts: Positive, k: Positive = 2) -> None:
        super().__init__()
        self.k = min(k, experts)
        self.noise = nn.Linear(width, experts, bias=False)
        nn.init.zeros_(self.noise.weight)  # as in the paper: softplus(0) = 0.69 at the first step

    def forward(self, logits: Tensor, *, by: Tensor, state: Tensor) -> Routing:
        """See `rsmoe.router.Choice`."""
        if not self.training:
            return Routing.of(logits, most_probable(by, self.k))
        deviation = nn.functional.softplus(nn.functional.linear(state.float(), self.noise.weight.float()))
        noise = torch.randn_like(logits) * deviation
        noisy = by + noise
        load = torch.ones_like(logits)
        if self.k < logits.shape[-1]:
            top = noisy.topk(self.k + 1, dim=-1).values
            # the k-th highest of the others: for one of the k highest, the (k+1)-th of all
            others = torch.where(noisy > top[:, -1:], top[:, -1:], top[:, -2:-1])
            load = torch.special.ndtr((by - others) / deviation)
        return Routing.of(logits + noise, most_probable(noisy, self.k), load=load)
