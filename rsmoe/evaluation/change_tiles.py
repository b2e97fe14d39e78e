"""A map of changes for a picture larger than the model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from rsmoe.data.collate import Collate
from rsmoe.data.sample import Sample
from rsmoe.data.transforms.radiometry import level_lines
from rsmoe.errors import UserError
from rsmoe.evaluation.class_maps import resized_rows
from rsmoe.evaluation.watch import watched
from rsmoe.geo.dates import Dates
from rsmoe.geo.strips import StripMap, row_slices
from rsmoe.geo.windows import WHOLE_PIXELS
from rsmoe.model import RSMoE

_OVERLAP = 0.25
_BATCH = 16
_STRIP_BYTES = 64 * 2**20
"""Of the probabilities that are mixed at once."""
_SAMPLE = 2**20
"""Pixels that set the light of a pair that is read in windows."""


@dataclass(frozen=True, kw_only=True)
class TiledChange:
    """What the change map of a model says of a pair."""

    kinds: np.ndarray | StripMap
    """(H, W) uint8: 0 none, where there is no data too; strips where the pair is read in windows."""
    valid: np.ndarray | StripMap
    """(H, W) bool: both dates have data."""
    tiles: int
    """Number of tiles that were looked at."""
    tile_px: int
    """Side of a tile in pixels of the picture."""


@dataclass(frozen=True, kw_only=True)
class _TileRow:
    """What the model says of the tiles that begin in one row of pixels."""

    top: int
    height: int
    tiles: list[tuple[int, int, Tensor]]
    """Left, width and (1 + K, h, w) logits of each."""


@torch.no_grad()
def map_changes(
    model: RSMoE, collate: Collate, dates: Dates, *, tile_px: int, console: Console | None = None
) -> TiledChange:
    """Slides the model over a pair in tiles that overlap by a quarter or more, and mixes their probabilities.

    Tiles weigh less towards their edges, where a convolution sees half of what it needs. A tile without data is not
    looked at, and no pixel without data is a change. Where the model wants its dates in one light, they are brought
    there once, by what all of the pair shows (a million pixels of a pair that is read in windows): a roof that fills a
    tile would set the levels of that tile, and vanish. Memory depends on the width of the pair and on the side
    of the tiles, not on the height: a tile of more than `WHOLE_PIXELS` pixels is thinned to them before it is resized.

    Args:
        model: with a change map, in eval mode.
        collate: of the model, at inference.
        dates: two.
        tile_px: side of the tiles, each resized to the pixels that the model reads; 0 takes the whole picture as one.
        console: where progress is shown; None shows none.

    Raises:
        UserError: a model without a change map, another number of dates, or a negative side.
    """
    if "change" not in model.maps:
        raise UserError("this model has no map of changes: train one with maps=[change]")
    part = model.maps["change"]
    if len(dates.images) != 2 or tile_px < 0:
        raise UserError(f"a map of changes needs two dates and tile >= 0, got {len(dates.images)} and {tile_px}")
    height, width = dates.valid.shape
    side = tile_px or max(height, width)
    tops, lefts = _starts(height, side), _starts(width, side)
    light = None
    if collate.transform.match_levels and len(tops) * len(lefts) > 1:
        light = _light(dates)
        collate = copy(collate)
        collate.transform = copy(collate.transform)
        collate.transform.match_levels = False
    kinds, valid = StripMap((height, width), np.uint8), StripMap((height, width), np.bool_)
    open_rows: list[_TileRow] = []
    looked = 0
    with watched("map of changes, tiles", len(tops) * len(lefts), console) as advance:
        for top, end in zip(tops, [*tops[1:], height], strict=True):
            row, known = _look(model, collate, dates, light, top, lefts, side, advance)
            looked += len(row.tiles)
            open_rows.append(row)
            for rows in _strips(top, end, width, len(part.names)):
                seen = _known(dates, rows) if known is None else known[rows.start - top : rows.stop - top]
                total = _mixed(open_rows, rows, (len(part.names), width))
                kinds.append(np.where(seen, part.classify(total).numpy(), 0))
                valid.append(seen)
            open_rows = [old for old in open_rows if old.top + old.height > end]
    return TiledChange(
        kinds=np.asarray(kinds) if dates.in_memory else kinds,
        valid=np.asarray(valid) if dates.in_memory else valid,
        tiles=looked,
        tile_px=min(side, max(height, width)),
    )


def _look(
    model: RSMoE, collate: Collate, dates: Dates, light: tuple[Tensor, Tensor] | None, top: int, lefts: Sequence[int],
    side: int, advance: Callable[[int], None],
) -> tuple[_TileRow, np.ndarray | None]:  # fmt: skip
    """The tiles of one row, and the (h, W) bool mask of data below its top; None where tiles are too large for it."""
    height, width = dates.valid.shape
    deep, wide = min(side, height - top), min(side, width)
    thinned = deep * wide > WHOLE_PIXELS and not dates.in_memory
    known = None if thinned else np.zeros((deep, width), dtype=bool)
    tiles: list[tuple[int, int, Tensor]] = []
    together = max(1, WHOLE_PIXELS // (deep * wide))
    for first in range(0, len(lefts), together):
        some = lefts[first : first + together]
        rows, columns = slice(top, top + deep), slice(some[0], some[-1] + wide)
        part = dates.overview(rows=rows, columns=columns) if thinned else dates.cut(rows, columns)
        part = _in_light(part, light)
        if known is not None:
            known[:, some[0] : some[-1] + wide] = part.valid
        pairs = [
            (left, part if thinned else part.cut(slice(None), slice(left - some[0], left - some[0] + wide)))
            for left in some
        ]
        places = [(left, _pair(tile, top, left)) for left, tile in pairs if tile.valid.any()]
        for start in range(0, len(places), _BATCH):
            batch = collate([(pair, i) for i, (_, pair) in enumerate(places[start : start + _BATCH])])
            change = model.see(batch.to(model.to_lm.weight.device)).maps["change"].evidence
            for (left, _), logits in zip(places[start : start + _BATCH], change.logits, strict=True):
                tiles.append((left, wide, logits.float().cpu()))
        advance(len(some))
    return _TileRow(top=top, height=deep, tiles=tiles), known


def _mixed(open_rows: Sequence[_TileRow], rows: slice, shape: tuple[int, int]) -> Tensor:
    """(1 + K, h, W) shares of the rows of pixels, over all tiles."""
    total = torch.zeros(shape[0], rows.stop - rows.start, shape[1])
    for row in open_rows:
        first, last = max(rows.start, row.top), min(rows.stop, row.top + row.height)
        if first >= last:
            continue
        for left, wide, logits in row.tiles:
            scores = resized_rows(logits, (row.height, wide), slice(first - row.top, last - row.top))
            weights = torch.from_numpy(_weights(row.height, wide)[first - row.top : last - row.top])
            total[:, first - rows.start : last - rows.start, left : left + wide] += scores.softmax(0) * weights
    return total


def _strips(top: int, end: int, width: int, classes: int) -> Iterator[slice]:
    for rows in row_slices((end - top, width), _STRIP_BYTES // (4 * classes)):
        yield slice(top + rows.start, top + rows.stop)


def _known(dates: Dates, rows: slice) -> np.ndarray:
    """The mask of data of some rows, where tiles were thinned."""
    parts = row_slices((rows.stop - rows.start, dates.valid.shape[1]))
    return np.concatenate([dates.valid[rows.start + p.start : rows.start + p.stop, :] for p in parts])


def _light(dates: Dates) -> tuple[Tensor, Tensor]:
    """Gain and offset, (C, 1) each, that bring the second date into the light of the first (`match_levels`)."""
    seen = dates if dates.in_memory else dates.overview(pixels=_SAMPLE, mean=False)
    shown = np.stack([image[seen.valid] for image in seen.images])  # (2, N, C)
    pixels = torch.from_numpy(shown).float().permute(0, 2, 1)[:, :, None]  # (2, C, 1, N): a picture of one row
    return level_lines(pixels)[0]


def _in_light(part: Dates, light: tuple[Tensor, Tensor] | None) -> Dates:
    """The second date in the light of the first, where it has data."""
    if light is None:
        return part
    gain, offset = light
    second = np.array(part.images[1])
    pixels = torch.from_numpy(second[part.valid]).float().T  # (C, N)
    second[part.valid] = (pixels * gain + offset).clamp(0, 255).round().to(torch.uint8).T.numpy()
    return replace(part, images=(part.images[0], second))


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


def _pair(tile: Dates, top: int, left: int) -> Sample:
    """A tile as a request."""
    return Sample(
        id=f"{top},{left}", images=tile.images, instruction="what has changed ?", responses=("",),
        task="change_caption", source="tile",
    )  # fmt: skip
