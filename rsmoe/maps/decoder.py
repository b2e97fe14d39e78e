"""Feature pyramid decoder: the dense prediction head that all maps and masks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.data.rasters.mask_sources import UNKNOWN


class PyramidDecoder(nn.Module):
    """FPN (Lin et al., arXiv 1612.03144): one linear map and one convolution with GroupNorm and GELU a level.

    Args:
        widths: channels of the levels, finest first.
        channels: C of the output; a multiple of 8.
        bias: of the linear maps.
        finest_kernel: side of the convolution at the finest level, which costs most; 3 at the others.
    """

    def __init__(self, *, widths: Sequence[int], channels: int, bias: bool = True, finest_kernel: int = 3) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1, bias=bias) for width in widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3 if level else finest_kernel, padding="same"),
                nn.GroupNorm(8, channels),
                nn.GELU(),
            )
            for level in range(len(widths))
        )

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Levels (R, D_l, h_l, w_l), finest first -> (R, C, h, w) of the finest level."""
        return top_down([lateral(x) for lateral, x in zip(self.lateral, pyramid, strict=True)], self.smooth)


def top_down(laterals: Sequence[Tensor], smooth: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
    """x_l = smooth_l(lateral_l + up(x_{l+1})), bilinear.

    Args:
        laterals: (R, C, h_l, w_l) of each level, finest first, one at least.
        smooth: what makes x_l of the sum, for each level.

    Returns:
        (R, C, h, w) of the finest level.
    """
    x: Tensor | None = None
    for lateral, block in reversed(list(zip(laterals, smooth, strict=True))):
        if x is not None:
            lateral = lateral + F.interpolate(x, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        x = block(lateral)
    assert x is not None, "a pyramid without levels"
    return x


def with_truth(shares: Tensor, truth: Tensor | None, resize: Callable[[Tensor, tuple[int, int]], Tensor]) -> Tensor:
    """Teacher forcing: the true map in the place of the predicted one, for views whose truth is known all over.

    Args:
        shares: (R, K, h, w) predicted probabilities.
        truth: (R, H, W) uint8 classes, 255 unknown; None keeps all predictions.
        resize: true maps (r, H, W) and (h, w) -> their shares (r, K, h, w).
    """
    if truth is None:
        return shares
    known = (truth != UNKNOWN).flatten(1).all(1).nonzero().squeeze(1)
    size = (shares.shape[2], shares.shape[3])
    return shares.index_copy(0, known, resize(truth[known], size).to(shares.dtype))


def resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, c, h, w) -> (n, c, H, W) float with ``size`` H and W, bilinear."""
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def class_shares(classes: Tensor, number: int) -> Tensor:
    """(r, H, W) classes -> (r, number, H, W) float, 1 at the class of each pixel."""
    return F.one_hot(classes.long(), number).permute(0, 3, 1, 2).to(torch.float32)
