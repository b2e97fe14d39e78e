"""Random square windows of pictures in their own pixels, for maps that are drawn in tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rsmoe.data.transforms.transforms import nearest, resize
from rsmoe.errors import UserError


def check_sides(window_px: Sequence[int]) -> tuple[int, int]:
    """Least and greatest side of a window; `UserError` unless 1 <= least <= greatest."""
    if len(window_px) != 2 or not 1 <= window_px[0] <= window_px[1]:
        raise UserError(
            f"loader.collate.window_px={list(window_px)}: expected the least and the greatest side of a window in "
            "pixels of the picture, such as [160,400]"
        )
    return window_px[0], window_px[1]


def random_window(
    images: Sequence[Tensor],
    maps: Sequence[Tensor | None],
    *,
    sides: tuple[int, int],
    size: int,
    generator: torch.Generator,
) -> tuple[list[Tensor], list[Tensor | None]]:
    """One window of all dates and of what is known of their pixels, resized to a square.

    The logarithm of its side is drawn evenly, so that things are as often seen half as large as twice as large; the
    side of the picture bounds it.

    Args:
        images: (C, H, W) uint8 each, of one size.
        maps: (H, W) uint8 each, classes or numbers of targets; None stays None.
        sides: least and greatest side, see `check_sides`.
        size: S, side of what comes out.
        generator: source of side and place.

    Returns:
        (C, S, S) uint8 each, and (S, S) uint8 each.

    Raises:
        UserError: dates, or their maps, of different sizes.
    """
    height, width = images[0].shape[1:]
    shapes = {tuple(image.shape[1:]) for image in images} | {tuple(one.shape) for one in maps if one is not None}
    if len(shapes) > 1:
        raise UserError(
            f"loader.collate.window_px cuts dates and their masks and class maps at one place, and theirs are of "
            f"{sorted(shapes)} (height, width). Give them one size, or leave window_px out"
        )
    scale, y, x = torch.rand(3, generator=generator).tolist()
    least, greatest = sides
    side = min(round(math.exp(math.log(least) + scale * math.log(greatest / least))), height, width)
    top, left = round(y * (height - side)), round(x * (width - side))
    rows, columns = slice(top, top + side), slice(left, left + side)
    cut = [_resized(image[:, rows, columns], size) for image in images]
    return cut, [None if one is None else nearest(one[rows, columns], size) for one in maps]


def _resized(image: Tensor, size: int) -> Tensor:
    if image.shape[1] == size:
        return image.contiguous()
    if image.shape[0] > 4:  # torch has a fast path for up to four bands of uint8
        return resize(image.permute(1, 2, 0).numpy(), size)
    return functional.interpolate(image[None].contiguous(), (size, size), mode="bilinear", antialias=True)[0]
