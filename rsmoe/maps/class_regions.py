"""What the pixels of a class say by themselves: how many regions, where, how large, in which direction."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.data.rasters.components import label_components
from rsmoe.vision.glance import CELLS

MEASURES = 2 + 2 + 3 + CELLS * CELLS
"""Numbers that `measures` gives of a class."""


def class_regions(maps: np.ndarray, classes: int, min_pixels: int) -> tuple[Tensor, Tensor]:
    """Regions (8 neighbours) of every class of hard maps.

    Args:
        maps: (I, h, w) integers, 0 to K - 1.
        classes: K.
        min_pixels: smaller regions are not counted.

    Returns:
        largest (I, K, h, w) uint8, 1 in the largest region of each class; counts (I, K) int64.
    """
    largest = np.zeros((len(maps), classes, *maps.shape[1:]), dtype=np.uint8)
    counts = np.zeros((len(maps), classes), dtype=np.int64)
    for picture, one in enumerate(maps):
        for k in np.unique(one).tolist():
            labels, counts[picture, k] = label_components(one == k, min_pixels=min_pixels)
            if counts[picture, k]:
                largest[picture, k] = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    return torch.from_numpy(largest), torch.from_numpy(counts)


def mean_over(mine: Tensor, values: Tensor) -> Tensor:
    """Pixels (I, k, h, w), 0 or 1, and values (I, c, h, w) -> (I, k, c) means, zero without pixels."""
    return torch.einsum("ikhw,ichw->ikc", mine, values) / mine.sum((2, 3)).clamp_min(1)[..., None]


def measures(mine: Tensor) -> Tensor:
    """(I, k, h, w) pixels of a class, 0 or 1 -> (I, k, `MEASURES`), zero of a class without pixels.

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
    cells = F.adaptive_avg_pool2d(mine, CELLS).flatten(2) * (h * w / CELLS**2) / number
    numbers = torch.stack([share, share.sqrt(), cx, cy, spread, along / scale, across / scale], dim=-1)
    return torch.cat([numbers, cells], dim=-1) * (share > 0)[..., None]
