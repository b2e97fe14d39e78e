"""Dates on different grids, warped onto one."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rsmoe.data.images import MAX_PIXELS
from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference, project
from rsmoe.geo.info import RasterInfo, opened
from rsmoe.geo.raster import RasterSource
from rsmoe.geo.stretch import Stretch

_MARGIN = 4
"""Pixels beyond the window that interpolation may reach for."""

_ALMOST = 1e-3
"""Of a pixel: grids that differ by less are the same."""


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
        stored, valid = _warped(self.source, self.grid)
        for date in self.dates:
            if date != self.source:
                valid = valid & _warped(date, self.grid)[1]
        return self.source.to_uint8(stored, valid, info=self.source.info, stretch=self._stretch())

    def valid(self) -> np.ndarray:
        """(H, W) bool: True where every date has data.

        Raises:
            UserError: when there is no such pixel.
        """
        common = np.logical_and.reduce([_warped(date, self.grid)[1] for date in self.dates])
        if not common.any():
            raise UserError(f"{_names(self.dates)} overlap, but nowhere do all of them have data")
        return common

    def _stretch(self) -> Stretch | None:
        """Percentiles are those of all dates with the same options: each its own would hide and invent changes."""
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
    grids = [_georeference(date) for date in dates]
    _same_bands(dates, infos)
    for (first, a), (then, b) in pairwise(zip(dates, infos, strict=True)):
        if a.timestamp is not None and b.timestamp is not None and a.timestamp > b.timestamp:
            warnings.warn(
                f"{first.path.name} ({a.timestamp}) comes before {then.path.name} ({b.timestamp}), but is younger. "
                "Swap them, or give date_pattern= where the date in the file is not the image's",
                stacklevel=2,
            )
    left, top, right, bottom = 0.0, 0.0, float(grids[0].width), float(grids[0].height)
    for grid in grids[1:]:
        x0, y0, x1, y1 = _extent(grid, grids[0])
        left, top, right, bottom = max(left, x0), max(top, y0), min(right, x1), min(bottom, y1)
    # a pixel that is covered in part is left out, one that misses a rounding error is not
    left, top = int(np.ceil(left - _ALMOST)), int(np.ceil(top - _ALMOST))
    right, bottom = int(np.floor(right + _ALMOST)), int(np.floor(bottom + _ALMOST))
    if right <= left or bottom <= top:
        raise UserError(
            f"{_names(dates)} have no common area: "
            + "; ".join(f"{d.path.name} covers {_degrees(g)}" for d, g in zip(dates, grids, strict=True))
        )
    common = grids[0].subwindow(left, top, right - left, bottom - top)
    return tuple(AlignedRaster(source=date, grid=common, dates=dates) for date in dates)


def _warped(source: RasterSource, grid: Georeference) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, C) float32 values as stored on ``grid``, and the (H, W) bool mask of data."""
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    if grid.width * grid.height > MAX_PIXELS:
        raise UserError(f"the common area of {grid.width} x {grid.height} pixels is too large; give a window= to align")
    here = _georeference(source)
    left, top = (0, 0) if source.window is None else source.window[:2]
    x0, y0, x1, y1 = _extent(grid, here)
    x0, y0 = max(0, int(np.floor(x0)) - _MARGIN), max(0, int(np.floor(y0)) - _MARGIN)
    x1, y1 = min(here.width, int(np.ceil(x1)) + _MARGIN), min(here.height, int(np.ceil(y1)) + _MARGIN)
    stored, valid = source.stored((left + x0, top + y0, x1 - x0, y1 - y0))
    holes = np.where(valid[..., None], stored, np.nan).astype(np.float32)
    warped = np.full((stored.shape[2], grid.height, grid.width), np.nan, np.float32)
    reproject(
        np.ascontiguousarray(np.moveaxis(holes, -1, 0)),
        warped,
        src_transform=Affine(*here.subwindow(x0, y0, x1 - x0, y1 - y0).transform),
        src_crs=here.crs,
        src_nodata=np.nan,
        dst_transform=Affine(*grid.transform),
        dst_crs=grid.crs,
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )
    values = np.moveaxis(warped, 0, -1)
    return values, np.all(np.isfinite(values), axis=-1)


def _extent(grid: Georeference, onto: Georeference) -> tuple[float, float, float, float]:
    """``left top right bottom`` of a grid in the pixels of another."""
    border = grid.to_map(grid.outline(steps=21))
    if grid.crs != onto.crs:
        border = project(border, grid.crs, onto.crs)
    pixels = onto.to_pixel(border)
    (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return left, top, right, bottom


def _georeference(source: RasterSource) -> Georeference:
    found = source.georeference
    if found is None:
        raise UserError(
            f"{source.path} has no coordinate system or transform, so that it cannot be aligned. Georeference it first "
            "(gdal_translate -a_srs EPSG:... -a_ullr left top right bottom), or give a pair that lies on one grid"
        )
    return found


def _same_bands(dates: Sequence[RasterSource], infos: Sequence[RasterInfo]) -> None:
    chosen = [[band.name for band in date.chosen(info)] for date, info in zip(dates, infos, strict=True)]
    if len({len(names) for names in chosen}) > 1:
        listed = "; ".join(f"{d.path.name} has {', '.join(names)}" for d, names in zip(dates, chosen, strict=True))
        raise UserError(f"the dates have different numbers of bands: {listed}. Choose the same with raster.bands=")


def _degrees(grid: Georeference) -> str:
    points = grid.to_lonlat(grid.outline())
    (west, south), (east, north) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


def _names(dates: Sequence[RasterSource]) -> str:
    return " and ".join(date.path.name for date in dates)
