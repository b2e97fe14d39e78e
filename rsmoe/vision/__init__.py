"""Vision contract: pixels -> `VisionFeatures`.

An encoder is an ``nn.Module`` in one file with one yaml in ``conf/vision/``; another number of bands raises
`rsmoe.errors.UserError`. It may have ``base`` (a module), ``features(pixels)`` and ``outputs(features)``, see
`rsmoe.vision.frozen`: what can be computed once where the base is frozen, and what is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor
from torch.nn import Parameter

from rsmoe.vision.features import VisionFeatures

__all__ = ["VisionEncoder", "VisionFeatures"]


class VisionEncoder(Protocol):
    """A convolutional or transformer encoder with a feature pyramid."""

    width: int
    """D of the tokens."""
    pyramid_widths: tuple[int, ...]
    """Channels of the levels, finest first."""
    bands: int
    """C of the pixels."""

    def __call__(self, pixels: Tensor) -> VisionFeatures:
        """(N, C, H, W) float, N pictures of all views and dates."""

    def parameters(self) -> Iterator[Parameter]:
        """Of ``nn.Module``."""
