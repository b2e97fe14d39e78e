"""Rasters resampled onto the grid of another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.failures import gdal_failures
from rsmoe.geo.georeference import Georeference, geographic, project
from rsmoe.geo.info import RasterInfo
from rsmoe.geo.opening import opened
from rsmoe.geo.raster import RasterSource

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


_MARGIN = 4
"""Pixels beyond the window that interpolation may reach for."""

ALMOST = 1e-3
"""Of a pixel: grids that differ by less are the same."""

_TOLERANCE = 0.01
"""Pixels of the source by which GDAL may place one wrong between points that PROJ has placed."""

_AT_ONCE = 2**22
"""Pixels of a source that are warped at once: 100 MB of three bands, as they are and as floats."""


def on_grid(
    source: RasterSource,
    file: DatasetReader,
    info: RasterInfo,
    grid: Georeference,
    *,
    shape: tuple[int, int] | None = None,
    mean: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, C) values as stored on ``grid``, and the (H, W) bool mask of data. Windows of a grid join without a seam.

    Pixels of the source's own grid are as they are in the file; others are warped, and float32.

    Args:
        source, file, info: a date, its open file and what that says.
        grid: may be a window of the common one.
        shape: (h, w) to thin the grid to, for an overview; None keeps every pixel.
        mean: thinned pixels are means of those they stand for, else some of them.
    """
    here = unwrapped(georeference_of(source, info), grid)
    left, top, _, _ = source.window_in(info)
    if (offset := _offset(here, grid)) is not None:
        window = left + offset[0], top + offset[1], grid.width, grid.height
        return source.pixels(file, info, window, shape=shape, mean=mean)
    from rasterio.enums import Resampling

    way = Resampling.bilinear if shape is None or mean else Resampling.nearest
    onto = grid if shape is None else grid.resized(shape[1], shape[0])

    def read(place: tuple[int, int, int, int], thinned: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
        x, y, width, height = place
        return source.pixels(file, info, (left + x, top + y, width, height), shape=thinned, mean=mean)

    with gdal_failures(f"{source.path.name} cannot be warped to CRS {grid.crs[:80]!r}"):
        return _warped(read, here, onto, thin=shape is not None, way=way)


def _warped(
    read: Callable[..., tuple[np.ndarray, np.ndarray]], here: Georeference, grid: Georeference, *, thin: bool, way: Any
) -> tuple[np.ndarray, np.ndarray]:
    """`on_grid` by GDAL's warper; ``read`` gives a window of ``here``, thinned or not."""
    from affine import Affine
    from rasterio.warp import reproject

    x0, y0, x1, y1 = extent(grid, here)
    step_x, step_y = _step(grid, here)
    margin_x, margin_y = (_MARGIN + int(np.ceil(2 * max(step, 1.0))) for step in (step_x, step_y))
    x0, x1 = (int(np.clip(x, 0, here.width)) for x in (np.floor(x0) - margin_x, np.ceil(x1) + margin_x))
    y0, y1 = (int(np.clip(y, 0, here.height)) for y in (np.floor(y0) - margin_y, np.ceil(y1) + margin_y))
    x0, y0 = min(x0, here.width - 1), min(y0, here.height - 1)
    width, height = max(1, x1 - x0), max(1, y1 - y0)
    fewer_x, fewer_y = (max(1, int(step / 2)) if thin else 1 for step in (step_x, step_y))
    columns, rows = -(-width // fewer_x), -(-height // fewer_y)
    if rows * columns > _AT_ONCE and max(grid.width, grid.height) > 1:  # a source much finer than the grid
        parts = [_warped(read, here, half, thin=thin, way=way) for half in _halves(grid)]
        (first, known), (second, known_2) = parts
        axis = 1 if grid.width >= grid.height else 0
        return np.concatenate([first, second], axis), np.concatenate([known, known_2], axis)
    stored, valid = read((x0, y0, width, height), (rows, columns) if thin else None)
    part = here.subwindow(x0, y0, width, height).resized(columns, rows)
    holes = np.where(valid[..., None], stored, np.nan).astype(np.float32, copy=False)
    warped = np.full((stored.shape[2], grid.height, grid.width), np.nan, np.float32)
    # between equal systems only the transforms count: PROJ would refuse a local one
    crs = ("EPSG:3857", "EPSG:3857") if here.crs == grid.crs else (here.crs, grid.crs)
    reproject(
        np.ascontiguousarray(np.moveaxis(holes, -1, 0)),
        warped,
        src_transform=Affine(*part.transform),
        src_crs=crs[0],
        src_nodata=np.nan,
        dst_transform=Affine(*grid.transform),
        dst_crs=crs[1],
        dst_nodata=np.nan,
        resampling=way,
        tolerance=_TOLERANCE,
        XSCALE=min(1.0, fewer_x / step_x),  # GDAL would measure them on each window
        YSCALE=min(1.0, fewer_y / step_y),
    )
    values = np.moveaxis(warped, 0, -1)
    return values, np.all(np.isfinite(values), axis=-1)


def _offset(here: Georeference, grid: Georeference) -> tuple[int, int] | None:
    """Where the grid begins in the pixels of this one, if it is a window of it; else None."""
    if here.crs != grid.crs:
        return None
    corners = here.to_pixel(grid.to_map(grid.outline()))
    (left, top), *_ = corners.round().tolist()
    if np.abs(corners - grid.outline() - (left, top)).max() > ALMOST:
        return None
    inside = min(left, top) >= 0 and left + grid.width <= here.width and top + grid.height <= here.height
    return (int(left), int(top)) if inside else None


def _step(grid: Georeference, here: Georeference) -> tuple[float, float]:
    """How many columns, and rows, of ``here`` a step of one pixel on ``grid`` goes, in its middle."""
    middle = np.array([grid.width / 2, grid.height / 2])
    points = grid.to_map(middle + [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5]])
    origin, right, down = here.to_pixel(points if grid.crs == here.crs else project(points, grid.crs, here.crs))
    x, y = np.hypot(right - origin, down - origin).tolist()
    return max(x, 1e-6), max(y, 1e-6)


def _halves(grid: Georeference) -> tuple[Georeference, Georeference]:
    width, height = grid.width, grid.height
    if width >= height:
        return grid.subwindow(0, 0, width // 2, height), grid.subwindow(width // 2, 0, width - width // 2, height)
    return grid.subwindow(0, 0, width, height // 2), grid.subwindow(0, height // 2, width, height - height // 2)


def unwrapped(here: Georeference, onto: Georeference) -> Georeference:
    """The same grid, by whole turns of longitude as near to the other as can be: 180.1 degrees east are -179.9."""
    if here.crs != onto.crs or not geographic(here.crs):
        return here
    (x, _), (other, _) = (g.to_map(np.array([[g.width / 2, g.height / 2]]))[0] for g in (here, onto))
    a, b, c, d, e, f = here.transform
    return replace(here, transform=(a, b, c + 360.0 * round((other - x) / 360), d, e, f))


def extent(grid: Georeference, onto: Georeference) -> tuple[float, float, float, float]:
    """``left top right bottom`` of a grid in the pixels of another."""
    border = grid.to_map(grid.outline(steps=21))
    if grid.crs != onto.crs:
        border = project(border, grid.crs, onto.crs)
        if geographic(onto.crs):
            ((middle, _),) = onto.to_map(np.array([[onto.width / 2, onto.height / 2]]))
            border[:, 0] += 360.0 * np.round((middle - border[:, 0]) / 360)
    pixels = onto.to_pixel(border)
    (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return left, top, right, bottom


def georeference_of(source: RasterSource, info: RasterInfo) -> Georeference:
    """Where the window of a source lies; raises `UserError` for a file without a grid."""
    if info.georeference is not None:
        return info.georeference.subwindow(*source.window_in(info))
    with opened(source.path) as file:
        points = bool(file.gcps[0]) or file.rpcs is not None
    if points:
        raise UserError(
            f"{source.path} has ground control points or RPCs but no grid, so that it cannot be aligned. Warp it "
            f"first: gdalwarp {source.path.name} warped.tif"
        )
    raise UserError(
        f"{source.path} has no coordinate system or transform, so that it cannot be aligned. Georeference it first "
        "(gdal_translate -a_srs EPSG:... -a_ullr left top right bottom), or give a pair that lies on one grid"
    )
