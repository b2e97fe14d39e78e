"""Two dates that do not lie exactly on each other, as real pairs do not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def shift_image(pixels: Tensor, right_px: float, down_px: float) -> Tensor:
    """(C, H, W) float, moved by any fraction of a pixel, bilinear; what comes in at the border repeats its edge."""
    height, width = pixels.shape[-2:]
    offset = pixels.new_tensor([[1.0, 0.0, -2 * right_px / width], [0.0, 1.0, -2 * down_px / height]])
    grid = functional.affine_grid(offset[None], [1, 1, height, width], align_corners=False)  # (1, H, W, 2)
    return functional.grid_sample(pixels[None], grid, padding_mode="border", align_corners=False)[0]


def misregister(pixels: Tensor, *, most_px: float, generator: torch.Generator) -> Tensor:
    """Moves every date but the first by up to ``most_px`` pixels along each axis, uniformly.

    The first date stays, for masks and boxes lie on it. A mask of what changed is then as wrong as annotations of
    pairs that are as badly aligned: a model that learns from them must not call a shift a change.

    Args:
        pixels: (T, C, H, W) float.
        most_px: 0.5 to 2 is what orthorectified pairs show.
        generator: source of the shifts; T - 1 pairs of numbers are drawn.
    """
    if len(pixels) < 2 or most_px == 0:
        return pixels
    shifts = most_px * (2 * torch.rand(len(pixels) - 1, 2, generator=generator) - 1)
    moved = [shift_image(date, *shift) for date, shift in zip(pixels[1:], shifts.tolist(), strict=True)]
    return torch.stack([pixels[0], *moved])
