"""The region that a user asks about: pixels, or a polygon in map coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.boxes.region import REGION, Region
from rsmoe.data.files.json_text import parse_json, read_json
from rsmoe.errors import UserError
from rsmoe.evaluation.request import Request
from rsmoe.geo.dates import Dates
from rsmoe.geo.georeference import WGS84, project

DESCRIBE_REGION = f"Describe the thing in {REGION}."
"""What is asked about a region, if nothing else is."""


def asked_region(request: Request, dates: Dates, *, convention: str | None) -> dict[str, Any]:
    """The fields of a `Sample` that say which region a request is about; {} where it is about all of the picture.

    `REGION` in the words of the request is where the box will stand; a request without it has the box at its end.

    Args:
        dates: the pictures of the request; its region is in pixels of the first, or a polygon of GeoJSON: a geometry, a
            feature, or a collection of one, in longitude and latitude, for a picture with a georeference.
        convention: how the model reads boxes.

    Raises:
        UserError: see `Region.of`; GeoJSON that is no polygon, or without a georeference; no convention.
    """
    if request.region is None:
        return {}
    if convention is None:
        raise UserError("region=: the model does not say how it reads boxes. Give boxes=<convention>, boxes=skyeye")
    given = request.region
    if isinstance(given, Mapping):
        if dates.georeference is None:
            raise UserError("region= is GeoJSON, and the picture has no georeference: give it in pixels, [x1,y1,x2,y2]")
        given = dates.georeference.to_pixel(project(_ring(given), WGS84, dates.georeference.crs))
    height, width = dates.valid.shape
    said = request.instruction or DESCRIBE_REGION
    return {
        "region": Region.of(given, size_px=(width, height)),
        "instruction": said if REGION in said else f"{said} {REGION}",
        "meta": {"box_convention": convention},
    }


def read_region(word: str | None) -> Any:
    """Numbers as they are typed, "[x1,y1,x2,y2]", or the content of a ``.geojson`` that is named; None for none."""
    if word is None:
        return None
    if not word.lstrip().startswith("["):
        return read_json(Path(word))
    return parse_json(word, f"region={word[:60]}", advice="Write [x1,y1,x2,y2] or [[x,y],[x,y],[x,y]]")


def _ring(given: Mapping[str, Any]) -> np.ndarray:
    """(k, 2) outer ring of the one polygon."""
    found: Any = given
    if found.get("type") == "FeatureCollection" and len(found.get("features", ())) == 1:
        found = found["features"][0]
    if found.get("type") == "Feature":
        found = found.get("geometry") or {}
    try:
        ring = np.array(found["coordinates"][0], dtype=np.float64)[:, :2]
    except (KeyError, IndexError, TypeError, ValueError):
        ring = np.zeros((0, 2))
    if found.get("type") != "Polygon" or ring.ndim != 2 or len(ring) < 4:
        raise UserError(f"region=: expected one polygon of GeoJSON, got {str(dict(given))[:80]}")
    return ring[:-1]
