"""The sigmoid loss: every pair of a picture and a text is a question of its own, belongs or not."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import PositiveReal
from rsmoe.contrast.pairs import Pairs


class SigmoidLoss(nn.Module):
    """Sum over the texts of the batch, mean over its pictures, of the logistic loss (SigLIP, arXiv 2303.15343).

    The logit scale is learned and clipped at 100; the bias begins where most pairs are told apart rightly.

    Args:
        scale: at the start.
        bias: at the start.
    """

    def __init__(self, *, scale: PositiveReal = 10.0, bias: float = -10.0) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.logit_bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, pairs: Pairs) -> Tensor:
        """Loss of this rank's pictures with the texts of all ranks."""
        scale = self.logit_scale.clamp(max=math.log(100)).exp()
        logits = scale * pairs.images @ pairs.all_texts.T + self.logit_bias  # (n, M)
        sign = pairs.texts_of_image.to(logits.dtype) * 2 - 1
        return -F.logsigmoid(sign * logits).sum(1).mean()
