"""What every vision encoder returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class VisionFeatures:
    """Tokens for language, a pyramid for pixels. N is the number of images (batch x times)."""

    tokens: Tensor
    """(N, P, D) visual tokens."""
    pyramid: tuple[Tensor, ...]
    """Feature maps (N, D_l, h_l, w_l), finest first."""
