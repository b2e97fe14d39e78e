"""Predicted masks as files that a GIS opens: GeoTIFF and GeoJSON in the CRS of the raster they were predicted on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.errors import UserError
from rsmoe.files import whole_file
from rsmoe.geo.failures import BLOCK_CACHE, gdal_failures
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.polygons import area, map_polygons
from rsmoe.geo.strips import row_slices

NO_DATA = 255
"""Value of a written class map where the raster holds no data."""

_BLOCK = 512
_STRIP_PIXELS = 2**23
_POINTS = 2**15


def write_class_map(
    path: Path,
    class_map: Any,
    *,
    georeference: Georeference | None,
    valid: Any = None,
    colours: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> Path:
    """Writes an (H, W) uint8 class map as a GeoTIFF of one band, `NO_DATA` where ``valid`` (H, W) bool is False.

    A mask is a class map of 0 and 1. Without a georeference the file is a plain TIFF in pixels. It has tiles of 512
    pixels, and overviews from 2048 pixels on. The file appears whole or not at all.

    Args:
        class_map, valid: arrays, or what is cut like them (`rsmoe.geo.strips.StripMap`), read strip by strip.
        georeference: of the map.
        colours: "#rrggbb" of the values, for the colour table; none writes no table.
        classes: names of the values, as tags "CLASS_1" ...

    Raises:
        UserError: for a map of another type or size than the georeference, or a folder that cannot be written.
    """
    import rasterio
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.windows import Window

    _check(class_map, georeference)
    place: dict[str, Any] = {}
    if georeference is not None:
        place = {"crs": georeference.crs, "transform": Affine(*georeference.transform)}
    height, width = class_map.shape
    options = {"height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": NO_DATA, **place}
    options |= {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "BIGTIFF": "IF_SAFER"}
    with (
        whole_file(path) as part,
        gdal_failures(f"cannot write {path}"),
        rasterio.Env(GDAL_CACHEMAX=BLOCK_CACHE),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain picture has no place
        with rasterio.open(part, "w", driver="GTiff", compress="deflate", **options) as file:
            if colours:
                file.write_colormap(1, {i: _rgb(colour) for i, colour in enumerate(colours[:NO_DATA])})
            file.update_tags(**{f"CLASS_{i}": name for i, name in enumerate(classes)})
            for rows in row_slices((height, width), max(1, _STRIP_PIXELS // (width * _BLOCK)) * width * _BLOCK):
                values = class_map[rows, :].astype(np.uint8)
                if valid is not None:
                    values = np.where(valid[rows, :], values, np.uint8(NO_DATA))
                file.write(values, 1, window=Window(0, rows.start, width, len(values)))
        if max(height, width) > 2048:
            with rasterio.open(part, "r+") as file:
                factors = [2**i for i in range(1, 12) if max(height, width) / 2**i > 256]
                file.build_overviews(factors, Resampling.nearest)
    return path


def write_polygons(
    path: Path,
    class_map: Any,
    *,
    georeference: Georeference | None,
    classes: Sequence[str] = (),
    gsd_m: float | None = None,
) -> int:
    """Writes the regions of an (H, W) uint8 class map as GeoJSON, one polygon each, along the edges of pixels.

    Pixels of one class that share a side are one polygon, holes and all; 0 and `NO_DATA` are left out. Coordinates are
    in the raster's CRS, which the file names in the member ``crs`` of GeoJSON 2008, as GDAL and QGIS read it (RFC 7946
    has WGS 84 alone, where the member is left out); without a georeference they are pixels. Properties are ``class``,
    its ``name``, ``pixels`` and, with a gsd, ``area_m2``.

    Args:
        class_map: an array, or what is cut like one.
        classes: names of the values.
        gsd_m: side of a pixel on the ground, in metres.

    Returns:
        number of polygons.

    Raises:
        UserError: as `write_class_map`.
    """
    _check(class_map, georeference)
    head: dict[str, Any] = {"type": "FeatureCollection"}
    if georeference is not None and georeference.crs != "EPSG:4326":
        head["crs"] = {"type": "name", "properties": {"name": _urn(georeference.crs)}}
    number = 0
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "features": [')
        for kind, rings in map_polygons(class_map, skip=NO_DATA):
            pixels = sum(area(ring) for ring in rings)  # holes are negative
            properties: dict[str, Any] = {
                "class": kind,
                "name": classes[kind] if kind < len(classes) else "",
                "pixels": pixels,
            }
            if gsd_m is not None:
                properties["area_m2"] = round(pixels * gsd_m**2, 2)
            told = json.dumps({"type": "Feature", "properties": properties})[:-1]
            file.write(("," if number else "") + f'\n{told}, "geometry": {{"type": "Polygon", "coordinates": [')
            for place, ring in enumerate(rings):
                file.write(", [" if place else "[")
                for start in range(0, len(ring), _POINTS):  # one region may hold most of the corners of a map
                    points = ring[start : start + _POINTS]
                    points = points if georeference is None else georeference.to_map(points)
                    file.write((", " if start else "") + json.dumps(points.tolist())[1:-1])
                file.write("]")
            file.write("]}}")
            number += 1
        file.write("\n]}\n")
    return number


def _check(class_map: Any, georeference: Georeference | None) -> None:
    if len(class_map.shape) != 2 or class_map.dtype not in (np.uint8, np.bool_):
        raise UserError(f"expected a mask (H, W) bool or a class map uint8, got {class_map.shape} {class_map.dtype}")
    if georeference is not None and tuple(class_map.shape) != (georeference.height, georeference.width):
        raise UserError(
            f"a map of {class_map.shape} pixels does not fit a grid of {(georeference.height, georeference.width)}: "
            "resize it, or take georeference.resized(width, height)"
        )


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _urn(crs: str) -> str:
    """ "EPSG:32618" as OGC writes it; what has no code stays as it is."""
    authority, colon, code = crs.partition(":")
    return f"urn:ogc:def:crs:{authority}::{code}" if colon and code.isdigit() else crs
