"""Load balance without a loss: a bias on the choice."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive, PositiveReal
from rsmoe.router.balance.all_ranks import mean_over_ranks
from rsmoe.router.routing import Routing


class LossFreeBalance(nn.Module):
    """Auxiliary-loss-free load balance: b_e += u * sign(mean load - load_e) after each batch of training; the logits
    that choose are z + b, the weights stay those of z (arXiv 2408.15664, and DeepSeek-V3, arXiv 2412.19437, section
    2.1.2, where b is added to the scores).

    The load is the share of the requests of all ranks that chose an expert. The bias is a buffer, part of a checkpoint;
    the loss is 0.

    Args:
        rate: u.
    """

    bias: Tensor

    def __init__(self, *, experts: Positive, rate: PositiveReal = 1e-3) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("bias", torch.zeros(experts))

    def forward(self, routing: Routing) -> Tensor:
        """See `rsmoe.router.Balance`; moves the bias in training."""
        if self.training:
            load, usable = mean_over_ranks(routing.chosen.float()), routing.usable()
            error = load[usable].mean() - load
            self.bias += self.rate * error.sign() * usable
        return routing.logits.new_zeros(())
