"""Connected components of class maps, and numbers that describe the pixels of a class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.data.change.cells import MIN_SHARE
from rsmoe.vision.positions import GRID_SIDE

MEASURES = 2 + 2 + 3 + GRID_SIDE**2
"""Numbers that `measures` gives of a class."""


def region_roots(classes: Tensor) -> Tensor:
    """Connected components (8 neighbours of one class) of hard maps, by minimum label propagation with pointer jumping.

    A handful of passes over all maps at once, on their device; `rsmoe.data.rasters.components` finds the same regions.

    Args:
        classes: (R, h, w) integers.

    Returns:
        (R, h * w) long: of each pixel, the place of the first pixel of its region, row by row.
    """
    count, height, width = classes.shape
    place = torch.arange(height * width, device=classes.device)
    roots = place.expand(count, -1).clone()
    # of a pixel and its neighbour to the right, below, and below to both sides
    pairs = []
    for y, x in ((0, 1), (1, 0), (1, 1), (1, -1)):
        left, right = slice(0, width - abs(x)), slice(abs(x), width)
        here, there = (right, left) if x < 0 else (left, right)
        pairs.append(((slice(0, height - y), here), (slice(y, height), there)))
    same = [classes[:, *a] == classes[:, *b] for a, b in pairs]
    while True:
        lowest = roots.view(count, height, width).clone()
        for (a, b), alike in zip(pairs, same, strict=True):
            for one, other in ((a, b), (b, a)):
                met = torch.minimum(lowest[:, *one], lowest[:, *other])
                lowest[:, *one] = torch.where(alike, met, lowest[:, *one])
        found = lowest.flatten(1)
        if torch.equal(found, roots):
            return roots
        found = found.scatter_reduce(1, roots, found, "amin")  # the old root learns what its region has met
        roots = found.gather(1, found)
        roots = roots.gather(1, roots)


def region_sizes(roots: Tensor) -> Tensor:
    """(R, n) roots -> (R, n) long: pixels of the region that each pixel is of."""
    return torch.zeros_like(roots).scatter_add(1, roots, torch.ones_like(roots)).gather(1, roots)


def class_regions(maps: Tensor, classes: int, min_pixels: int) -> tuple[Tensor, Tensor]:
    """Regions (8 neighbours) of every class of hard maps.

    Args:
        maps: (R, h, w) long, 0 to K - 1.
        classes: K.
        min_pixels: smaller regions are not counted.

    Returns:
        largest (R, K, h, w) bool, True in the largest region of each class, of equals in the first; counts (R, K) long.
    """
    roots, flat = region_roots(maps), maps.flatten(1)
    sizes = region_sizes(roots)
    pixels = roots.shape[1]
    counted = (roots == torch.arange(pixels, device=maps.device)) & (sizes >= min_pixels)  # one pixel a region
    counts = maps.new_zeros(len(maps), classes).scatter_add(1, flat, counted.long())
    rank = torch.where(sizes >= min_pixels, sizes * pixels + (pixels - 1 - roots), -1)
    best = rank.new_full((len(maps), classes), -1).scatter_reduce(1, flat, rank, "amax")
    largest = (rank[:, None] == best[:, :, None]) & (rank >= 0)[:, None]
    largest &= flat[:, None] == torch.arange(classes, device=maps.device)[:, None]
    return largest.unflatten(2, maps.shape[1:]), counts


def change_regions(kinds: Tensor, *, number: int, min_pixels: int) -> tuple[Tensor, Tensor]:
    """Regions of hard maps of change, by the rules of change instructions (`rsmoe.data.change.cells`), kind by kind.

    Args:
        kinds: (R, h, w) integers, 0 for no change, 1 .. K for its kind.
        number: K.
        min_pixels: smaller regions are specks: neither counted nor placed.

    Returns:
        named (R, K, 9) bool, True for cells that hold at least `MIN_SHARE` of what changed of a kind;
        counts (R, K) long of regions.
    """
    count, height, width = kinds.shape
    roots, flat = region_roots(kinds), kinds.flatten(1).long()
    large = region_sizes(roots) >= min_pixels
    counted = large & (roots == torch.arange(roots.shape[1], device=kinds.device))
    counts = flat.new_zeros(count, 1 + number).scatter_add(1, flat, counted.long())[:, 1:]
    rows, columns = (GRID_SIDE * torch.arange(side, device=kinds.device) // side for side in (height, width))
    cell = (GRID_SIDE * rows[:, None] + columns).flatten()  # (h * w,)
    cells = GRID_SIDE**2
    held = flat.new_zeros(count, (1 + number) * cells).scatter_add(1, flat * cells + cell, large.long())
    held = held.unflatten(1, (1 + number, cells))[:, 1:].double()
    return held / held.sum(2, keepdim=True).clamp_min(1) >= MIN_SHARE, counts


def without_specks(kinds: Tensor, min_pixels: int) -> Tensor:
    """(R, h, w) kinds of change, 0 in the regions of any change that have fewer pixels."""
    large = region_sizes(region_roots(kinds > 0)).view_as(kinds) >= min_pixels
    return kinds * large


def mean_over(mine: Tensor, values: Tensor) -> Tensor:
    """Pixels (R, k, h, w), 0 or 1, and values (R, c, h, w) -> (R, k, c) means, zero without pixels."""
    return torch.einsum("ikhw,ichw->ikc", mine, values) / mine.sum((2, 3)).clamp_min(1)[..., None]


def measures(mine: Tensor) -> Tensor:
    """(R, k, h, w) pixels of a class, 0 or 1 -> (R, k, `MEASURES`), zero of a class without pixels.

    Share of the picture, its square root, the centre (x, y from -1 to 1), the standard deviation along the longer
    axis and the cosine and sine of twice the angle of that axis weighed by how much longer it is, and the share of the
    class that lies in each of 3 x 3 cells.
    """
    h, w = mine.shape[-2:]
    y = torch.linspace(-1, 1, h, device=mine.device, dtype=mine.dtype)[:, None].expand(h, w)
    x = torch.linspace(-1, 1, w, device=mine.device, dtype=mine.dtype).expand(h, w)
    basis = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y])  # (6, h, w)
    sums = torch.einsum("ikhw,bhw->ikb", mine, basis)
    number = sums[..., :1].clamp_min(1)
    _, cx, cy, xx, yy, xy = (sums / number).unbind(-1)
    xx, yy, xy = xx - cx * cx, yy - cy * cy, xy - cx * cy
    along, across = (xx - yy) / 2, xy
    longer = torch.hypot(along, across)
    spread = ((xx + yy) / 2 + longer).clamp_min(0).sqrt()
    scale = ((xx + yy) / 2 + longer).clamp_min(1e-6)
    share = sums[..., 0] / (h * w)
    cells = F.adaptive_avg_pool2d(mine, GRID_SIDE).flatten(2) * (h * w / GRID_SIDE**2) / number
    numbers = torch.stack([share, share.sqrt(), cx, cy, spread, along / scale, across / scale], dim=-1)
    return torch.cat([numbers, cells], dim=-1) * (share > 0)[..., None]
