"""The pictures of one request, as a user names them: files of any kind, one date or several, on one grid."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.file_format import raster_drivers
from rsmoe.data.images import decode_picture
from rsmoe.errors import UserError
from rsmoe.geo.align import align
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.raster import RasterSource

_COLOURS = ("red", "green", "blue")
_DATED = r"(?<!\d)(?P<year>(?:19|20)\d\d)(?:[-_]?(?P<month>\d\d)[-_]?(?P<day>\d\d))?(?!\d)"
"""A year or a whole date in a file's name: ``1985.tif``, ``site_2020-07-01.tif``."""


@dataclass(frozen=True, kw_only=True)
class Dates:
    """T pictures of one size."""

    images: tuple[np.ndarray, ...]
    """(H, W, C) uint8 each, 0 where any date has no data."""
    valid: np.ndarray
    """(H, W) bool: every date has data."""
    georeference: Georeference | None
    """Of the common grid."""
    notes: tuple[str, ...]
    """What was done to the files, in words for the user."""


def read_dates(paths: Sequence[Path], *, bands: int, options: Mapping[str, Any] | None = None) -> Dates:
    """Reads the pictures, puts georeferenced dates on the grid of the first, and chooses as many bands as asked for.

    Rasters (see `rsmoe.data.file_format`) are read with ``options``, other pictures as `load_image` does. Without a
    choice of bands among them a file of more bands gives red, green and blue where it names them, else its first ones,
    and a note says so. Timestamps are those of ``date_pattern``, of names that hold a year, or of the files.

    Args:
        paths: in temporal order.
        bands: C that the model reads.
        options: keywords of `RasterSource` but ``path`` and ``window``.

    Raises:
        UserError: for files that are missing or cannot be read, dates of different sizes without georeferences, of
            different numbers of bands, without a common area or a common pixel with data.

    Warns:
        UserWarning: dates in the wrong order, or the same picture twice.
    """
    notes: list[str] = []
    rasters = [path for path in paths if path.is_file() and raster_drivers(path)]
    sources = _sources(rasters, bands, dict(options or {}), notes) if rasters else []
    if len(sources) == len(paths) > 1 and any(source.georeference is not None for source in sources):
        found = _aligned(sources, notes)
    else:
        read = dict(zip(rasters, (source.picture() for source in sources), strict=True))
        pictures = [read[path] if path in read else decode_picture(path, str(path)) for path in paths]
        _same_size(paths, [pixels for pixels, _ in pictures])
        valid = np.ones(pictures[0][0].shape[:2], bool)
        for _, own in pictures:
            valid &= True if own is None else own
        images = tuple(np.where(valid[..., None], pixels, 0).astype(np.uint8) for pixels, _ in pictures)
        place = sources[0].georeference if len(sources) == len(paths) else None
        found = Dates(images=images, valid=valid, georeference=place, notes=())
    if not found.valid.any():
        raise UserError(f"{' and '.join(path.name for path in paths)}: no pixel holds data at every date")
    for (before, a), (after, b) in pairwise(zip(paths, found.images, strict=True)):
        if np.array_equal(a, b):
            warnings.warn(
                f"{before.name} and {after.name} are the same picture: nothing can have changed", stacklevel=2
            )
    return Dates(images=found.images, valid=found.valid, georeference=found.georeference, notes=tuple(notes))


def _sources(paths: Sequence[Path], bands: int, options: dict[str, Any], notes: list[str]) -> list[RasterSource]:
    if options.get("date_pattern") is None and len(paths) > 1 and all(re.search(_DATED, p.name) for p in paths):
        options["date_pattern"] = _DATED
    sources = [RasterSource(path=path, **options) for path in paths]
    if options.get("bands") is not None or options.get("wavelengths_nm") is not None:
        return sources
    named = [[band.name for band in source.info.bands] for source in sources]
    if len({len(names) for names in named}) > 1:
        listed = "; ".join(f"{p.name} has {', '.join(names)}" for p, names in zip(paths, named, strict=True))
        raise UserError(f"the dates have different bands: {listed}. Choose the same of each: raster.bands=[...]")
    names = named[0]
    if len(names) == bands:
        return sources
    if len(names) == 1:
        chosen: list[int | str] = [1] * bands
        said = "its only band"
    elif len(names) < bands:
        raise UserError(
            f"{paths[0].name} has {len(names)} bands ({', '.join(names)}), and the model reads {bands}. "
            f"Say which of them to read, some twice: raster.bands=[1,{','.join('2' * (bands - 1))}]"
        )
    elif bands == 3 and set(_COLOURS) <= {name.lower() for name in names}:
        chosen, said = list(_COLOURS), "red, green and blue"
    else:
        chosen, said = list(range(1, bands + 1)), f"the first {bands}"
    notes.append(
        f"bands: {said} of {len(names)} ({', '.join(names)}) for a model of {bands}; others: raster.bands=[...]"
    )
    return [RasterSource(path=path, **{**options, "bands": chosen}) for path in paths]


def _aligned(sources: Sequence[RasterSource], notes: list[str]) -> Dates:
    dates = align(*sources)
    grid, first = dates[0].grid, sources[0]
    for other in sources[1:]:
        if other.georeference != first.georeference:
            theirs = other.georeference
            assert theirs is not None  # align has refused it otherwise
            notes.append(
                f"{other.path.name} ({theirs.width} x {theirs.height}, {theirs.crs[:40]}) is warped to the grid of "
                f"{first.path.name}: {grid.width} x {grid.height} pixels, {grid.crs[:40]}"
            )
    valid = dates[0].valid()
    return Dates(images=tuple(date.read() for date in dates), valid=valid, georeference=grid, notes=())


def _same_size(paths: Sequence[Path], images: Sequence[np.ndarray]) -> None:
    if len({image.shape for image in images}) > 1:
        listed = ", ".join(
            f"{path.name} {image.shape[1]} x {image.shape[0]} x {image.shape[2]}"
            for path, image in zip(paths, images, strict=True)
        )
        raise UserError(
            f"the dates are of different sizes and not all georeferenced, so that nothing says how they lie: {listed} "
            "(width x height x bands). Crop them to the same ground, or give GeoTIFFs"
        )
