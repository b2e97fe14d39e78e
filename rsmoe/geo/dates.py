"""The pictures of one request, as a user names them: files of any kind, one date or several, on one grid."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.align import AlignedRaster, align
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.name_dates import dates_in_names
from rsmoe.geo.pictures import decode_with_pillow
from rsmoe.geo.raster import RasterSource
from rsmoe.geo.resampled import at_gsd
from rsmoe.geo.strips import row_slices
from rsmoe.geo.windows import WHOLE_PIXELS, DateWindows, LazyDate

_COLOURS = ("red", "green", "blue")
_LOOKED_AT = 2**20
"""Pixels of a large raster by which the same picture is known when it comes twice."""


@dataclass(frozen=True, kw_only=True)
class Dates:
    """T pictures of one size, as arrays, or as files that are read where they are cut."""

    images: tuple[Any, ...]
    """(H, W, C) uint8 each, 0 where any date has no data; `numpy.ndarray`, or `LazyDate` of what is large."""
    valid: Any
    """(H, W) bool: every date has data; an array, or what is cut like one."""
    georeference: Georeference | None
    """Of the common grid."""
    notes: tuple[str, ...]
    """What was done to the files, in words for the user."""

    def cut(self, rows: slice, columns: slice) -> Dates:
        """A window, in arrays; without its place."""
        images = tuple(image[rows, columns] for image in self.images)
        return replace(self, images=images, valid=self.valid[rows, columns], georeference=None)

    def overview(
        self,
        *,
        pixels: int = WHOLE_PIXELS,
        mean: bool = True,
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> Dates:
        """All of it, or a window, in arrays: as it is where it has no more than ``pixels``, else thinned to them.

        Args:
            pixels: at most.
            mean: see `DateWindows.overview`; arrays are thinned to some of their pixels.
            rows, columns: of the window.
        """
        height, width = (len(range(side)[cut]) for side, cut in zip(self.valid.shape, (rows, columns), strict=True))
        whole = (height, width) == self.valid.shape
        if height * width <= pixels:
            return self if whole and self.in_memory else self.cut(rows, columns)
        shrink = (pixels / (height * width)) ** 0.5
        deep, wide = (min(side, max(1, int(side * shrink))) for side in (height, width))
        wide = min(wide, pixels // deep)
        place = self.georeference.resized(wide, deep) if whole and self.georeference is not None else None
        if isinstance(self.images[0], LazyDate):
            images, valid = self.images[0].dates.overview((deep, wide), rows=rows, columns=columns, mean=mean)
        else:
            part = self.cut(rows, columns)
            y, x = np.arange(deep)[:, None] * height // deep, np.arange(wide) * width // wide
            images, valid = tuple(image[y, x] for image in part.images), part.valid[y, x]
        return replace(self, images=images, valid=valid, georeference=place)

    @property
    def in_memory(self) -> bool:
        """Whether the images are arrays."""
        return not isinstance(self.images[0], LazyDate)


def read_dates(paths: Sequence[Path], *, bands: int, options: Mapping[str, Any] | None = None) -> Dates:
    """Opens the pictures, puts georeferenced dates on the grid of the first, and chooses as many bands as asked for.

    Rasters (see `rsmoe.geo.file_format`) are read with ``options``, other pictures as `load_image` does.
    Without a choice of bands among them a file of more bands gives red, green and blue where it names them, else its
    first ones, and a note says so. Timestamps are those of ``date_pattern``, of the names where each of them holds a
    date (`rsmoe.geo.name_dates`), or of the files. Rasters of more than `WHOLE_PIXELS` are read later, window by
    window.

    Args:
        paths: in temporal order.
        bands: C that the model reads.
        options: keywords of `RasterSource` but ``path``. A ``window`` is in the pixels of the first date; others that
            are georeferenced are read where it lies. And ``gsd_m``: all dates are resampled to pixels of so many
            metres, see `rsmoe.geo.resampled.at_gsd`; None leaves the pixels of the first.

    Raises:
        UserError: for files that are missing or cannot be read, dates of different sizes without georeferences, of
            different numbers of bands, without a common area or a common pixel with data, or options for pictures that
            are no rasters.

    Warns:
        UserWarning: dates in the wrong order, two of one day by ``date_pattern``, or the same picture twice.
    """
    if missing := [path for path in paths if not path.is_file()]:
        raise UserError(f"no image file {missing[0]}" + (": it is a folder" if missing[0].is_dir() else ""))
    notes: list[str] = []
    options = dict(options or {})
    gsd_m = options.pop("gsd_m", None)
    rasters = [path for path in paths if raster_drivers(path)]
    if gsd_m is not None and len(rasters) < len(paths):
        at_gsd(None, gsd_m, name=next(path.name for path in paths if path not in rasters))
    sources = _sources(rasters, bands, dict(options), notes) if rasters else []
    placed = len(paths) > 1 and any(source.georeference is not None for source in sources)
    if len(rasters) == len(paths) and (placed or gsd_m is not None):
        found = _opened(DateWindows(_aligned(sources, gsd_m, notes)), sources)
    elif len(rasters) == len(paths):
        _same_size(paths, [source.shape for source in sources])
        _check_order(paths, [source.info.timestamp for source in sources])
        found = _opened(DateWindows(sources), sources)
    else:
        if options:
            other = next(path for path in paths if path not in rasters)
            raise UserError(
                f"raster.{next(iter(options))}= is about rasters (GeoTIFF, JPEG 2000), and {other.name} is none: leave "
                f"it out, or convert the picture: gdal_translate {other.name} {other.stem}.tif"
            )
        read = dict(zip(rasters, (source.picture() for source in sources), strict=True))
        pictures = [read[path] if path in read else decode_with_pillow(path, str(path)) for path in paths]
        _same_size(paths, [pixels.shape for pixels, _ in pictures])
        valid = np.ones(pictures[0][0].shape[:2], bool)
        for _, own in pictures:
            valid &= True if own is None else own
        images = tuple(np.where(valid[..., None], pixels, 0).astype(np.uint8) for pixels, _ in pictures)
        _check_order(paths, [named.day if named else None for named in dates_in_names([path.name for path in paths])])
        found = Dates(images=images, valid=valid, georeference=None, notes=())
    seen = found if found.in_memory else found.overview(pixels=_LOOKED_AT, mean=False)
    # an overview may miss the little that there is
    if not seen.valid.any() and not any(found.valid[rows, :].any() for rows in row_slices(found.valid.shape)):
        if len(paths) == 1:
            raise UserError(f"{paths[0].name}: no pixel holds data")
        names = " and ".join(path.name for path in paths)
        raise UserError(f"{names} overlap, but nowhere do all of them have data")
    for (before, a), (after, b) in pairwise(zip(paths, seen.images, strict=True)):
        if np.array_equal(a, b):
            warnings.warn(
                f"{before.name} and {after.name} are the same picture: nothing can have changed", stacklevel=2
            )
    return replace(found, notes=tuple(notes))


def _opened(windows: DateWindows, sources: Sequence[RasterSource]) -> Dates:
    """Arrays of what is small, the windows of what is not."""
    height, width = windows.shape
    place = sources[0].georeference if windows.grid is None else windows.grid
    if height * width > WHOLE_PIXELS:
        images = tuple(LazyDate(windows, number) for number in range(len(sources)))
        return Dates(images=images, valid=LazyDate(windows, None), georeference=place, notes=())
    read, valid = windows.read(slice(None), slice(None))
    return Dates(images=read, valid=valid, georeference=place, notes=())


def _sources(paths: Sequence[Path], bands: int, options: dict[str, Any], notes: list[str]) -> list[RasterSource]:
    declared = options.pop("date_pattern", None)
    window = options.pop("window", None)
    patterns = [found.pattern if found else None for found in dates_in_names([path.name for path in paths])]
    if declared is not None:
        patterns = [declared] * len(paths)
    sources = [
        RasterSource(path=path, date_pattern=pattern, **options) for path, pattern in zip(paths, patterns, strict=True)
    ]
    if window is not None:
        placed = len(sources) > 1 and all(source.georeference is not None for source in sources)
        sources = [replace(s, window=None if i and placed else window) for i, s in enumerate(sources)]
    if declared is not None:
        for a, b in pairwise(sources):
            if a.info.timestamp == b.info.timestamp:
                warnings.warn(
                    f"raster.date_pattern={declared!r} finds the same date in {a.path.name} and {b.path.name}, "
                    f"{a.info.timestamp}: nothing says which comes first. Check raster.date_pattern and the order",
                    stacklevel=2,
                )
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
    return [replace(source, bands=tuple(chosen)) for source in sources]


def _aligned(sources: Sequence[RasterSource], gsd_m: float | None, notes: list[str]) -> tuple[AlignedRaster, ...]:
    """Dates on one grid, or a single one that has a gsd."""
    first = sources[0]
    if len(sources) > 1:
        dates = align(*sources)
    else:
        place = first.georeference or at_gsd(None, gsd_m or 0.0, name=first.path.name)
        dates = (AlignedRaster(source=first, grid=place, dates=(first,)),)
    grid = dates[0].grid
    for other in sources[1:]:
        if other.georeference != first.georeference:
            theirs = other.georeference
            assert theirs is not None  # align has refused it otherwise
            notes.append(
                f"{other.path.name} ({theirs.width} x {theirs.height}, {theirs.crs[:40]}) is warped to the grid of "
                f"{first.path.name}: {grid.width} x {grid.height} pixels, {grid.crs[:40]}"
            )
    if gsd_m is None:
        return dates
    seen = at_gsd(grid, gsd_m, name=first.path.name)
    width_m, height_m = grid.sides_m
    notes.append(
        f"read at {gsd_m:g} m: {grid.width} x {grid.height} pixels of {width_m:.4g} x {height_m:.4g} m become "
        f"{seen.width} x {seen.height}"
    )
    return tuple(replace(date, grid=seen) for date in dates)


def _check_order(paths: Sequence[Path], days: Sequence[datetime | None]) -> None:
    """Warns of dates in the wrong order, where nothing else looks at them: `align` does so for those with a grid."""
    for (first, a), (then, b) in pairwise(zip(paths, days, strict=True)):
        if a is not None and b is not None and a > b:
            warnings.warn(
                f"{first.name} ({a:%Y-%m-%d}) comes before {then.name} ({b:%Y-%m-%d}), but is younger. Swap them, or "
                "give raster.date_pattern= where that date is not the image's",
                stacklevel=3,
            )


def _same_size(paths: Sequence[Path], shapes: Sequence[tuple[int, ...]]) -> None:
    """Of (H, W, C)."""
    if len(set(shapes)) > 1:
        listed = ", ".join(
            f"{path.name} {shape[1]} x {shape[0]} x {shape[2]}" for path, shape in zip(paths, shapes, strict=True)
        )
        raise UserError(
            f"the dates are of different sizes and not all georeferenced, so that nothing says how they lie: {listed} "
            "(width x height x bands). Crop them to the same ground, or give GeoTIFFs"
        )
