"""Which part of an encoder can be computed once: all of it, or the part before its trainable outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rsmoe.vision.features import VisionFeatures


class FrozenPart:
    """The part of an encoder whose results are worth keeping, and how tokens and pyramid are made of them.

    An encoder with a ``base`` (the module), ``features(pixels)`` and ``outputs(features)`` is cut there: what comes
    behind, its last blocks, a projection or a pyramid, may train. Any other is taken whole.

    Args:
        encoder: see `rsmoe.vision`.
    """

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.cut = hasattr(encoder, "base") and hasattr(encoder, "features")

    @property
    def module(self) -> nn.Module:
        """Whose weights the features depend on."""
        module: nn.Module = self.encoder.base if self.cut else self.encoder
        return module

    @property
    def rests(self) -> bool:
        """Whether nothing in it trains."""
        return not any(p.requires_grad for p in self.module.parameters())

    def features(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) -> tensors of N rows each."""
        if self.cut:
            found: tuple[Tensor, ...] = self.encoder.features(pixels)
            return found
        seen = self.encoder(pixels)
        return (seen.tokens, *seen.pyramid)

    def outputs(self, features: tuple[Tensor, ...]) -> VisionFeatures:
        """`features` -> what the encoder returns."""
        # as convolutions leave them: those behind take the same way, to the same last bit
        features = tuple(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in features)
        if self.cut:
            found: VisionFeatures = self.encoder.outputs(features)
            return found
        return VisionFeatures(tokens=features[0], pyramid=features[1:])
