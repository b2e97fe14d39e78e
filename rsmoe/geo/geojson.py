"""GeoJSON of what was found on a picture: longitudes and latitudes by RFC 7946, and beside it the raster's own CRS."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.files import whole_file
from rsmoe.geo.georeference import WGS84, Georeference
from rsmoe.geo.lonlat import has_degrees, lonlat_geometry
from rsmoe.geo.polygons import area, map_polygons
from rsmoe.geo.simplify import HALF_PX, Junctions, simplified
from rsmoe.geo.write import NO_DATA, check_map

_POINTS = 2**15

Feature = tuple[dict[str, Any], Sequence[np.ndarray]]
"""Properties; the outline and the holes of a polygon: closed (n, 2) ``x y`` in pixels, the region on the right."""


@dataclass(frozen=True, kw_only=True)
class GeoJsonFiles:
    """What `write_geojson` wrote."""

    names: tuple[str, ...]
    features: int


def write_geojson(path: Path, features: Iterable[Feature], *, georeference: Georeference | None) -> GeoJsonFiles:
    """Writes polygons as GeoJSON, in two files of one pass.

    - ``<name>.geojson``: longitude and latitude on WGS 84 (RFC 7946), see `rsmoe.geo.lonlat.lonlat_geometry`;
    - ``<name>_crs.geojson``: coordinates of the raster's CRS, which the member ``crs`` of GeoJSON 2008 names, as GDAL
      and QGIS read it. It alone is written where the picture lies nowhere on the earth (a local CRS, or outside of the
      area where the CRS is defined).

    Without a georeference there is one file, ``<name>_px.geojson``, in pixels.

    Args:
        path: ``<folder>/<name>.geojson``.
        features: see `Feature`.
        georeference: of the pixels.

    Raises:
        UserError: a folder that cannot be written.
    """
    if georeference is None:
        plain, degrees = path.with_name(f"{path.stem}_px.geojson"), None
    else:
        plain = path.with_name(f"{path.stem}_crs.geojson")
        degrees = path if has_degrees(georeference) else None
    number = 0
    with ExitStack() as stack:
        files = [
            stack.enter_context(stack.enter_context(whole_file(target)).open("w", encoding="utf-8"))
            for target in (plain, degrees)
            if target is not None
        ]
        for file, crs in zip(files, ("" if georeference is None else georeference.crs, ""), strict=False):
            file.write(_head(crs))
        for properties, rings in features:
            begun = json.dumps({"type": "Feature", "properties": properties}, ensure_ascii=False)[:-1]
            begun = ("," if number else "") + f'\n{begun}, "geometry": '
            files[0].write(begun)
            for piece in _polygon(rings, georeference):
                files[0].write(piece)
            files[0].write("}")
            if len(files) > 1:
                assert georeference is not None
                files[1].write(begun + json.dumps(lonlat_geometry(rings, georeference)) + "}")
            number += 1
        for file in files:
            file.write("\n]}\n")
    return GeoJsonFiles(names=tuple(p.name for p in (degrees, plain) if p is not None), features=number)


def write_feature_collection(
    path: Path, features: Iterable[tuple[dict[str, Any], dict[str, Any] | None]], *, crs: str = ""
) -> None:
    """Writes (properties, geometry) pairs as they are: in longitude and latitude, or in ``crs``; without a geometry the
    feature is unlocated (RFC 7946, section 3.2)."""
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(_head(crs))
        for number, (properties, geometry) in enumerate(features):
            feature = {"type": "Feature", "properties": properties, "geometry": geometry}
            file.write(("," if number else "") + "\n" + json.dumps(feature, ensure_ascii=False))
        file.write("\n]}\n")


def map_features(
    class_map: Any,
    *,
    classes: Sequence[str] = (),
    least: int = 1,
    gsd_m: float | None = None,
    simplify_px: float = HALF_PX,
    said: Mapping[str, Any] | None = None,
) -> Iterator[Feature]:
    """The regions of an (H, W) uint8 class map, one polygon each.

    Pixels of one class that share a side are one polygon, holes and all; `NO_DATA` and what is below ``least`` are left
    out. Properties are ``class``, its ``name``, ``pixels`` and, with a gsd, ``area_m2``: of the pixels, however the
    outline is simplified.

    Args:
        class_map: an array, or what is cut like one.
        classes: names of the values.
        least: value that is a region; 0 for classes of which none is a background.
        gsd_m: side of a pixel on the ground, in metres.
        simplify_px: see `rsmoe.geo.simplify.simplified`; 0: along the edges of pixels.
        said: properties that all of them have beside.

    Raises:
        UserError: as `rsmoe.geo.write.write_class_map`.
    """
    check_map(class_map, None)
    junctions = Junctions(class_map) if simplify_px > 0 else None
    for kind, rings in map_polygons(class_map, skip=NO_DATA, least=least):
        pixels = sum(area(ring) for ring in rings)  # holes are negative
        name = classes[kind] if kind < len(classes) else ""
        properties: dict[str, Any] = {"class": kind, "name": name, "pixels": pixels}
        if gsd_m is not None:
            properties["area_m2"] = round(pixels * gsd_m**2, 2)
        properties |= said or {}
        yield properties, simplified(rings, junctions, tolerance_px=simplify_px) if junctions is not None else rings


def outline(width: int, height: int) -> np.ndarray:
    """(5, 2) the closed border of a picture in pixels, as a ring of a `Feature`."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], np.float64)


def _head(crs: str) -> str:
    head: dict[str, Any] = {"type": "FeatureCollection"}
    if crs:
        head["crs"] = {"type": "name", "properties": {"name": _urn(crs)}}
    return json.dumps(head)[:-1] + ', "features": ['


def _polygon(rings: Sequence[np.ndarray], place: Georeference | None) -> Iterator[str]:
    """One region may hold most of the corners of a map: it is written in pieces, to a thousandth of a pixel."""
    a, b, _, d, e, _ = (0.0,) * 6 if place is None else place.transform
    digits = 0 if place is None else 3 - math.floor(math.log10(min(math.hypot(a, d), math.hypot(b, e))))
    yield '{"type": "Polygon", "coordinates": ['
    for number, ring in enumerate(rings):
        yield ", [" if number else "["
        for start in range(0, len(ring), _POINTS):
            points = ring[start : start + _POINTS]
            points = points if place is None else place.to_map(points).round(digits)
            yield (", " if start else "") + json.dumps(points.tolist())[1:-1]
        yield "]"
    yield "]}"


def _urn(crs: str) -> str:
    """ "EPSG:32618" as OGC writes it, longitude first; what has no code stays as it is."""
    if crs == WGS84:
        return "urn:ogc:def:crs:OGC:1.3:CRS84"
    authority, colon, code = crs.partition(":")
    return f"urn:ogc:def:crs:{authority}::{code}" if colon and code.isdigit() else crs
