"""A map of changes for a picture larger than the model's."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from rsmoe.data.collate import Collate
from rsmoe.data.radiometry import match_levels
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.geo.dates import Dates
from rsmoe.model import RSMoE
from rsmoe.temporal.change_map import likeliest

_OVERLAP = 0.25
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class TiledChange:
    """What the change map of a model says of a pair."""

    kinds: np.ndarray
    """(H, W) uint8: 0 none, where there is no data too."""
    tiles: int
    """Number of tiles that were looked at."""
    tile_px: int
    """Side of a tile in pixels of the picture."""


@torch.no_grad()
def map_changes(model: RSMoE, collate: Collate, dates: Dates, *, tile_px: int) -> TiledChange:
    """Slides the model over a pair in tiles that overlap by a quarter or more, and mixes their probabilities.

    Tiles weigh less towards their edges, where a convolution sees half of what it needs. A tile without data is not
    looked at, and no pixel without data is a change. Where the model wants its dates in one light, they are brought
    there once, by what all of the pair shows: a roof that fills a tile would set the levels of that tile, and vanish.

    Args:
        model: with a change map, in eval mode.
        collate: of the model, at inference.
        dates: two.
        tile_px: side of the tiles, each resized to the pixels that the model reads; 0 takes the whole picture as one.

    Raises:
        UserError: a model without a change map, another number of dates, or a negative side.
    """
    if model.change is None:
        raise UserError("this model has no map of changes: train one with change=map")
    if len(dates.images) != 2 or tile_px < 0:
        raise UserError(f"a map of changes needs two dates and tile >= 0, got {len(dates.images)} and {tile_px}")
    height, width = dates.valid.shape
    side = tile_px or max(height, width)
    places = [(y, x) for y in _starts(height, side) for x in _starts(width, side)]
    places = [(y, x) for y, x in places if dates.valid[y : y + side, x : x + side].any()]
    if collate.transform.match_levels and len(places) > 1:
        dates, collate = _in_one_light(dates), copy(collate)
        collate.transform = copy(collate.transform)
        collate.transform.match_levels = False
    total = np.zeros((1 + model.change.kinds, height, width), dtype=np.float32)
    device = model.to_lm.weight.device
    for first in range(0, len(places), _BATCH):
        some = places[first : first + _BATCH]
        batch = collate([(_pair(dates, y, x, side), i) for i, (y, x) in enumerate(some)]).to(device)
        change = model.see(batch, told=False).change
        assert change is not None
        for (y, x), logits in zip(some, change.logits, strict=True):
            part = total[:, y : y + side, x : x + side]
            scores = F.interpolate(logits[None].float(), size=part.shape[1:], mode="bilinear", align_corners=False)
            part += scores[0].softmax(0).cpu().numpy() * _weights(*part.shape[1:])
    kinds = np.where(dates.valid, likeliest(torch.from_numpy(total)).numpy(), 0).astype(np.uint8)
    return TiledChange(kinds=kinds, tiles=len(places), tile_px=min(side, max(height, width)))


def _in_one_light(dates: Dates) -> Dates:
    """The second date in the light of the first, by the pixels with data (`match_levels`)."""
    shown = np.stack([image[dates.valid] for image in dates.images])  # (2, N, C)
    pixels = torch.from_numpy(shown).float().permute(0, 2, 1)[:, :, None]  # (2, C, 1, N): a picture of one row
    second = dates.images[1].copy()
    second[dates.valid] = match_levels(pixels)[1, :, 0].clamp(0, 255).round().to(torch.uint8).T.numpy()
    return replace(dates, images=(dates.images[0], second))


def _starts(length: int, side: int) -> list[int]:
    """Where tiles start, evenly, the last one at the end."""
    if length <= side:
        return [0]
    count = 1 + int(np.ceil((length - side) / (side * (1 - _OVERLAP))))
    return [int(start) for start in np.linspace(0, length - side, count).round()]


def _weights(height: int, width: int) -> np.ndarray:
    """(h, w) float32, 1 in the middle and little at the edges."""
    y, x = (1 - np.abs(2 * (np.arange(n) + 0.5) / n - 1) * 0.9 for n in (height, width))
    return (y[:, None] * x[None]).astype(np.float32)


def _pair(dates: Dates, y: int, x: int, side: int) -> Sample:
    images = tuple(image[y : y + side, x : x + side] for image in dates.images)
    return Sample(
        id=f"{y},{x}", images=images, instruction="what has changed ?", responses=("",), task="change_caption",
        source="tile",
    )  # fmt: skip
