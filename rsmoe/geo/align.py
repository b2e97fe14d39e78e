"""Dates on different grids, warped onto one."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.info import RasterInfo
from rsmoe.geo.opening import opened
from rsmoe.geo.pictures import MAX_PIXELS
from rsmoe.geo.raster import RasterSource
from rsmoe.geo.stretch import Stretch
from rsmoe.geo.warp import ALMOST, extent, georeference_of, on_grid, unwrapped


@dataclass(frozen=True, kw_only=True)
class AlignedRaster:
    """One date on the grid of all; a `rsmoe.data.sample.Lazy` that gives (H, W, C) uint8. `align` makes them.

    Interpolation is bilinear, over the area of the output pixel where that is larger than the input's, and only over
    pixels that hold data. Where any date has no data all dates are 0: a missing strip is not a change.
    """

    source: RasterSource
    grid: Georeference
    dates: tuple[RasterSource, ...]
    """All of them, this one too."""

    @property
    def key(self) -> str:
        """Hash of the sources and the grid."""
        return "aligned:" + hashlib.sha1(repr(self).encode()).hexdigest()

    @property
    def georeference(self) -> Georeference:
        """The grid."""
        return self.grid

    def read(self) -> np.ndarray:
        """(H, W, C) uint8."""
        stored, valid = _whole(self.source, self.grid)
        for date in self.dates:
            if date != self.source:
                valid = valid & _whole(date, self.grid)[1]
        return self.source.to_uint8(stored, valid, info=self.source.info, stretch=self.common_stretch())

    def valid(self) -> np.ndarray:
        """(H, W) bool: True where every date has data.

        Raises:
            UserError: when there is no such pixel.
        """
        common = np.logical_and.reduce([_whole(date, self.grid)[1] for date in self.dates])
        if not common.any():
            raise UserError(f"{_names(self.dates)} overlap, but nowhere do all of them have data")
        return common

    def common_stretch(self) -> Stretch | None:
        """Stretch by percentiles over all dates of the same options: one for each would hide and invent changes."""
        stretch = self.source.stretch
        if not isinstance(stretch, Stretch) or not stretch.percentile:
            with opened(self.source.path) as file:
                return self.source.fitted_stretch(file, self.source.info)
        alike = [date for date in self.dates if date.stretch == stretch]
        return stretch.fit(
            np.concatenate([stretch.values(date.overview(), *date.calibration(date.info)) for date in alike])
        )


def align(*dates: RasterSource) -> tuple[AlignedRaster, ...]:
    """Puts dates in temporal order on the grid of the first, over the area that all of them cover.

    The first date's pixels are kept as they are, so that its masks and boxes move by whole pixels only:
    ``aligned[0].grid`` is a window of its grid. Only headers are read here.

    Args:
        dates: two or more, each with its bands, stretch and window.

    Raises:
        UserError: for fewer than two, a file without georeference, dates with different bands, or no common area.

    Warns:
        UserWarning: when a date is older than the one before it.
    """
    if len(dates) < 2:
        raise UserError(f"align needs two dates or more, got {len(dates)}")
    infos = [date.info for date in dates]
    grids = [georeference_of(date, info) for date, info in zip(dates, infos, strict=True)]
    grids = [grids[0], *(unwrapped(grid, grids[0]) for grid in grids[1:])]
    _same_bands(dates, infos)
    for (first, a), (then, b) in pairwise(zip(dates, infos, strict=True)):
        if a.timestamp is not None and b.timestamp is not None and a.timestamp > b.timestamp:
            warnings.warn(
                f"{first.path.name} ({a.timestamp}) comes before {then.path.name} ({b.timestamp}), but is younger. "
                "Swap them, or give raster.date_pattern= where the date in the file is not the image's",
                stacklevel=2,
            )
    left, top, right, bottom = 0.0, 0.0, float(grids[0].width), float(grids[0].height)
    for date, grid in zip(dates[1:], grids[1:], strict=True):
        try:
            x0, y0, x1, y1 = extent(grid, grids[0])
        except UserError as error:
            raise UserError(
                f"{_names([dates[0], date])} cannot be laid on each other: {error}. Bring both into one coordinate "
                f"system that covers their ground: gdalwarp -t_srs EPSG:... {date.path.name} warped.tif"
            ) from error
        left, top, right, bottom = max(left, x0), max(top, y0), min(right, x1), min(bottom, y1)
    # a pixel that is covered in part is left out, one that misses a rounding error is not
    left, top = int(np.ceil(left - ALMOST)), int(np.ceil(top - ALMOST))
    right, bottom = int(np.floor(right + ALMOST)), int(np.floor(bottom + ALMOST))
    if right <= left or bottom <= top:
        raise UserError(
            f"{_names(dates)} have no common area: "
            + "; ".join(f"{d.path.name} covers {_ground(g)}" for d, g in zip(dates, grids, strict=True))
        )
    common = grids[0].subwindow(left, top, right - left, bottom - top)
    return tuple(AlignedRaster(source=date, grid=common, dates=dates) for date in dates)


def _whole(source: RasterSource, grid: Georeference) -> tuple[np.ndarray, np.ndarray]:
    if grid.width * grid.height > MAX_PIXELS:
        raise UserError(
            f"the common area of {grid.width} x {grid.height} pixels is too large to read at once; "
            "choose a part: raster.window=[left,top,width,height]"
        )
    with opened(source.path) as file:
        return on_grid(source, file, source.info, grid)


def _same_bands(dates: Sequence[RasterSource], infos: Sequence[RasterInfo]) -> None:
    chosen = [[band.name for band in date.chosen(info)] for date, info in zip(dates, infos, strict=True)]
    if len({len(names) for names in chosen}) > 1:
        listed = "; ".join(f"{d.path.name} has {', '.join(names)}" for d, names in zip(dates, chosen, strict=True))
        raise UserError(f"the dates have different numbers of bands: {listed}. Choose the same with raster.bands=")


def _ground(grid: Georeference) -> str:
    """What a grid covers, for a message; of a local system in its own units."""
    try:
        points = grid.to_lonlat(grid.outline())
        (west, south), (east, north) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
    except UserError:
        left, bottom, right, top = grid.bounds
        return f"x {left:.2f} to {right:.2f}, y {bottom:.2f} to {top:.2f} of its own system"


def _names(dates: Sequence[RasterSource]) -> str:
    return " and ".join(date.path.name for date in dates)
