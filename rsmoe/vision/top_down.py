"""The way down a feature pyramid, from its coarsest level to its finest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor
from torch.nn import functional as F


def top_down(laterals: Sequence[Tensor], smooth: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
    """x_l = smooth_l(lateral_l + up(x_{l+1})), bilinear; Lin et al., arXiv 1612.03144.

    Args:
        laterals: (N, C, h_l, w_l) of each level, finest first, one at least.
        smooth: what makes x_l of the sum, for each level.

    Returns:
        (N, C, h, w) of the finest level.
    """
    x: Tensor | None = None
    for lateral, block in reversed(list(zip(laterals, smooth, strict=True))):
        if x is not None:
            lateral = lateral + F.interpolate(x, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        x = block(lateral)
    assert x is not None, "a pyramid without levels"
    return x
