"""A map of classes, land cover or change, of a picture larger than the model's."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.data.rasters.images import images_key, load_image
from rsmoe.data.sample import Sample
from rsmoe.data.transforms.radiometry import level_lines
from rsmoe.errors import UserError
from rsmoe.evaluation.class_maps import resized_rows
from rsmoe.evaluation.watch import watched
from rsmoe.geo.dates import Dates
from rsmoe.geo.strips import StripMap, row_slices
from rsmoe.geo.windows import WHOLE_PIXELS, tile_starts
from rsmoe.geo.write import NO_DATA
from rsmoe.model import RSMoE

_SHOWN = {"change": "changes", "land_cover": "land cover"}
"""Names of maps, for people."""
_OVERLAP = 0.25
_BATCH = 16
_STRIP_BYTES = 64 * 2**20
"""Of the probabilities that are mixed at once."""
_SAMPLE = 2**20
"""Pixels that set the light of a pair that is read in windows."""
_DESCRIBE = Sample(
    id="",
    images=(np.zeros((1, 1, 3), np.uint8),),
    instruction="describe",
    responses=("",),
    task="caption",
    source="tile",
)
"""A request of which the pixels alone are read."""


@dataclass(frozen=True, kw_only=True)
class TiledMap:
    """What a map of a model says of a picture or a pair."""

    kinds: np.ndarray | StripMap
    """(H, W) uint8 kinds of change, 0 where there is no data too, or classes of land cover, there `NO_DATA`; strips
    where files are read in windows."""
    valid: np.ndarray | StripMap
    """(H, W) bool: every date has data."""
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
    """Left, width and (K, h, w) logits of each."""


@torch.no_grad()
def map_tiles(
    model: RSMoE, collate: Collate, dates: Dates, *, name: str, tile_px: int, console: Console | None = None
) -> TiledMap:
    """Slides the model over a picture or a pair in tiles that overlap by a quarter or more; mixes their probabilities.

    Tiles weigh less towards their edges, where a convolution sees half of what it needs. A tile without data is not
    looked at, and no pixel without data is a change. Where the model wants its dates in one light, they are brought
    there once, by what all of the pair shows (a million pixels of a pair that is read in windows): a roof that fills a
    tile would set the levels of that tile, and vanish. Memory depends on the width of the pair and on the side
    of the tiles, not on the height: a tile of more than `WHOLE_PIXELS` pixels is thinned to them before it is resized.

    Args:
        model: with such a map, in eval mode.
        dates: as many as the map compares.
        tile_px: side of the tiles, each resized to the pixels that the model reads; 0 takes the whole picture as one.

    Raises:
        UserError: a model without such a map, another number of dates, or a negative side.
    """
    if name not in model.maps:
        raise UserError(f"this model has no map of {_SHOWN.get(name, name)}: train one with maps=[{name}]")
    part = model.maps[name]
    if len(dates.images) != part.dates or tile_px < 0:
        needed = "one date" if part.dates == 1 else "two dates"
        raise UserError(
            f"a map of {_SHOWN.get(name, name)} needs {needed} and tile >= 0, got {len(dates.images)} and {tile_px}"
        )

    def look(batch: Batch) -> Tensor:
        return model.see(batch.to(model.to_lm.weight.device)).maps[name].evidence.logits

    title = f"map of {_SHOWN.get(name, name)}, tiles"
    return draw_tiles(part, look, collate, dates, tile_px=tile_px, title=title, console=console)


class DrawnMap(Protocol):
    """What `draw_tiles` asks of a map; a `rsmoe.maps.MapModule` is one."""

    dates: int
    names: tuple[str, ...]

    def classify(self, shares: Tensor) -> Tensor:
        """(K, H, W) probabilities -> (H, W) uint8 classes."""


@torch.no_grad()
def draw_tiles(
    part: DrawnMap,
    look: Callable[[Batch], Tensor],
    collate: Collate,
    dates: Dates,
    *,
    tile_px: int,
    title: str,
    asked: Sample = _DESCRIBE,
    console: Console | None = None,
) -> TiledMap:
    """A map in tiles, as `map_tiles` tells.

    Args:
        look: takes a request on each of n tiles to (n, K, h, w) logits.
        asked: of every tile, with other pictures; its id becomes "top,left", in pixels of ``dates``.
    """
    blank = 0 if part.dates > 1 else NO_DATA
    height, width = dates.valid.shape
    side = tile_px or max(height, width)
    tops, lefts = (tile_starts(length, side, overlap=_OVERLAP) for length in (height, width))
    light = None
    if part.dates > 1 and collate.transform.match_levels and len(tops) * len(lefts) > 1:
        light = _light(dates)
        collate = copy(collate)
        collate.transform = copy(collate.transform)
        collate.transform.match_levels = False
    kinds, valid = StripMap((height, width), np.uint8), StripMap((height, width), np.bool_)
    open_rows: list[_TileRow] = []
    looked = 0
    with watched(title, len(tops) * len(lefts), console) as advance:
        for top, end in zip(tops, [*tops[1:], height], strict=True):
            row, known = _look(look, collate, dates, light, asked, top, lefts, side, advance)
            looked += len(row.tiles)
            open_rows.append(row)
            for own in row_slices((end - top, width), _STRIP_BYTES // (4 * len(part.names))):
                rows = slice(top + own.start, top + own.stop)
                seen = _known(dates, rows) if known is None else known[own]
                total = _mixed(open_rows, rows, (len(part.names), width))
                kinds.append(np.where(seen, part.classify(total).numpy(), blank))
                valid.append(seen)
            open_rows = [old for old in open_rows if old.top + old.height > end]
    return TiledMap(
        kinds=np.asarray(kinds) if dates.in_memory else kinds,
        valid=np.asarray(valid) if dates.in_memory else valid,
        tiles=looked,
        tile_px=min(side, max(height, width)),
    )


def tiled_outputs(
    model: RSMoE, collate: Collate, samples: Sequence[Sample], *, tile_px: int
) -> list[dict[str, np.ndarray]]:
    """For each sample, name of a map of its number of dates -> (H, W) uint8 classes by `map_tiles`, as
    `rsmoe.predict` writes them; samples on the same pictures share an array.
    """
    known: dict[Hashable, dict[str, np.ndarray]] = {}
    for sample in samples:
        key = images_key(sample)
        if key not in known:
            images = tuple(load_image(image) for image in sample.images)
            dates = Dates(images=images, valid=np.ones(images[0].shape[:2], bool), georeference=None, notes=())
            known[key] = {
                name: np.asarray(map_tiles(model, collate, dates, name=name, tile_px=tile_px).kinds)
                for name, part in model.maps.items()
                if part.dates == len(images)
            }
    return [known[images_key(sample)] for sample in samples]


def _look(
    look: Callable[[Batch], Tensor], collate: Collate, dates: Dates, light: tuple[Tensor, Tensor] | None, asked: Sample,
    top: int, lefts: Sequence[int], side: int, advance: Callable[[int], None],
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
        cut = [
            (left, part if thinned else part.cut(slice(None), slice(left - some[0], left - some[0] + wide)))
            for left in some
        ]
        places = [
            (left, replace(asked, id=f"{top},{left}", images=tile.images, georeference=None))
            for left, tile in cut
            if tile.valid.any()
        ]
        for start in range(0, len(places), _BATCH):
            batch = collate([(sample, i) for i, (_, sample) in enumerate(places[start : start + _BATCH])])
            for (left, _), logits in zip(places[start : start + _BATCH], look(batch), strict=True):
                tiles.append((left, wide, logits.float().cpu()))
        advance(len(some))
    return _TileRow(top=top, height=deep, tiles=tiles), known


def _mixed(open_rows: Sequence[_TileRow], rows: slice, shape: tuple[int, int]) -> Tensor:
    """(K, h, W) shares of the rows of pixels, over all tiles."""
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


def _weights(height: int, width: int) -> np.ndarray:
    """(h, w) float32, 1 in the middle and little at the edges."""
    y, x = (1 - np.abs(2 * (np.arange(n) + 0.5) / n - 1) * 0.9 for n in (height, width))
    return (y[:, None] * x[None]).astype(np.float32)
