"""Predicted masks as files that a GIS opens: GeoTIFF and GeoJSON in the CRS of the raster they were predicted on."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference

NO_DATA = 255
"""Value of a written class map where the raster holds no data."""


def write_class_map(
    path: Path, class_map: np.ndarray, *, georeference: Georeference | None, valid: np.ndarray | None = None
) -> Path:
    """Writes an (H, W) uint8 class map as a GeoTIFF of one band, `NO_DATA` where ``valid`` (H, W) bool is False.

    A mask is a class map of 0 and 1. Without a georeference the file is a plain TIFF in pixels. The file appears whole
    or not at all.

    Raises:
        UserError: for a map of another type or size than the georeference, or a folder that cannot be written.
    """
    import rasterio
    from affine import Affine
    from rasterio.errors import NotGeoreferencedWarning

    values = _checked(class_map, georeference)
    if valid is not None:
        values = np.where(valid, values, np.uint8(NO_DATA))
    place: dict[str, Any] = {}
    if georeference is not None:
        place = {"crs": georeference.crs, "transform": Affine(*georeference.transform)}
    height, width = values.shape
    part = _part(path)
    options = {"height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": NO_DATA, **place}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain picture has no place
            with rasterio.open(part, "w", driver="GTiff", compress="deflate", **options) as file:
                file.write(values, 1)
        os.replace(part, path)
    except (OSError, rasterio.errors.RasterioError) as error:
        raise UserError(f"cannot write {path}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def write_polygons(
    path: Path,
    class_map: np.ndarray,
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
        classes: names of the values.
        gsd_m: side of a pixel on the ground, in metres.

    Returns:
        number of polygons.

    Raises:
        UserError: as `write_class_map`.
    """
    from affine import Affine
    from rasterio.features import shapes

    values = _checked(class_map, georeference)
    transform = Affine.identity() if georeference is None else Affine(*georeference.transform)
    pixel = abs(transform.determinant)
    features = []
    for geometry, value in shapes(values, mask=(values > 0) & (values != NO_DATA), connectivity=4, transform=transform):
        number = int(value)
        pixels = round(_area(geometry["coordinates"]) / pixel)
        properties: dict[str, Any] = {
            "class": number,
            "name": classes[number] if number < len(classes) else "",
            "pixels": pixels,
        }
        if gsd_m is not None:
            properties["area_m2"] = round(pixels * gsd_m**2, 2)
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    found: dict[str, Any] = {"type": "FeatureCollection"}
    if georeference is not None and georeference.crs != "EPSG:4326":
        found["crs"] = {"type": "name", "properties": {"name": _urn(georeference.crs)}}
    found["features"] = features
    part = _part(path)
    try:
        part.write_text(json.dumps(found) + "\n")
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return len(features)


def _checked(class_map: np.ndarray, georeference: Georeference | None) -> np.ndarray:
    if class_map.ndim != 2 or class_map.dtype not in (np.uint8, np.bool_):
        raise UserError(f"expected a mask (H, W) bool or a class map uint8, got {class_map.shape} {class_map.dtype}")
    if georeference is not None and class_map.shape != (georeference.height, georeference.width):
        raise UserError(
            f"a map of {class_map.shape} pixels does not fit a grid of {(georeference.height, georeference.width)}: "
            "resize it, or take georeference.resized(width, height)"
        )
    return class_map.astype(np.uint8)


def _part(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path.parent}: {error.strerror or error}") from error
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def _area(rings: Sequence[Sequence[Sequence[float]]]) -> float:
    """Of a polygon with holes, in square units of its coordinates (shoelace formula, the first ring is the outer)."""
    total = 0.0
    for i, ring in enumerate(rings):
        x, y = (np.array(ring) - ring[0]).T  # close to the origin: map coordinates have seven digits before the point
        own = abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1])) / 2
        total += own if i == 0 else -own
    return total


def _urn(crs: str) -> str:
    """ "EPSG:32618" as OGC writes it; what has no code stays as it is."""
    authority, colon, code = crs.partition(":")
    return f"urn:ogc:def:crs:{authority}::{code}" if colon and code.isdigit() else crs
