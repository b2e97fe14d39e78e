"""InfoNCE: each picture finds its texts among all of the batch, each text its pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Fraction, PositiveReal
from rsmoe.contrast.pairs import Pairs


class InfoNCE(nn.Module):
    """Mean of the image-to-text and text-to-image cross-entropies (CLIP, arXiv 2103.00020, figure 3).

    What belongs together in more than one way, several captions of a picture or a caption of several pictures, shares
    the target equally. The logit scale is learned and clipped at 100.

    Args:
        temperature: at the start, 1 / scale.
        smoothing: share of the target that goes to all candidates alike.
    """

    def __init__(self, *, temperature: PositiveReal = 0.07, smoothing: Fraction = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def forward(self, pairs: Pairs) -> Tensor:
        """Loss of this rank's rows."""
        scale = self.logit_scale.clamp(max=math.log(100)).exp()
        to_texts = scale * pairs.images @ pairs.all_texts.T  # (n, M)
        to_images = scale * pairs.texts @ pairs.all_images.T  # (m, N)
        return (self._entropy(to_texts, pairs.texts_of_image) + self._entropy(to_images, pairs.images_of_text)) / 2

    def _entropy(self, logits: Tensor, belongs: Tensor) -> Tensor:
        target = belongs.to(logits.dtype)
        target = target / target.sum(1, keepdim=True)
        return F.cross_entropy(logits, target, label_smoothing=self.smoothing)
