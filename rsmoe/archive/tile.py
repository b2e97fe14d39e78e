"""A tile of a picture, where it lies, and how well it fits a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rsmoe.geo.geojson import outline
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.lonlat import has_degrees, lonlat_geometry

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees; east is above 180 where the antimeridian is crossed."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture that tiles are cut from."""

    path: str
    """See `rsmoe.archive.picture.Picture`."""
    stamp: str
    """Changes with the file."""
    georeference: Georeference | None = None
    """None where the file does not say."""
    day: str | None = None
    """When it was taken, "2020-08-30", where its name, the file or its STAC item says so."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A window of a source."""

    source: Source
    window: tuple[int, int, int, int]
    """Left, top, width, height in pixels of the source."""
    box: Box | None = None
    """Around its footprint; None where it lies nowhere on the earth."""
    gsd_m: float | None = None

    @property
    def id(self) -> str:
        """Of this tile alone: the path, and the window."""
        return f"{self.source.path}#{','.join(map(str, self.window))}"

    def footprint(self) -> dict[str, Any] | None:
        """Polygon or MultiPolygon in longitude and latitude, as RFC 7946 wants it; None without a place."""
        place = self.place
        if place is None or not has_degrees(place):
            return None
        return lonlat_geometry([outline(place.width, place.height)], place)

    @property
    def place(self) -> Georeference | None:
        """The grid of its pixels."""
        grid = self.source.georeference
        return None if grid is None else grid.subwindow(*self.window)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A tile that a search found."""

    tile: Tile
    score: float
    """Cosine of its vector and the query's, -1 to 1."""


def box_of(geometry: dict[str, Any]) -> Box:
    """The box around a footprint, whose western part is moved by 360 degrees where it is cut at the antimeridian."""
    cut = geometry["type"] == "MultiPolygon"
    rings = [polygon[0] for polygon in geometry["coordinates"]] if cut else [geometry["coordinates"][0]]
    points = []
    for ring in rings:
        turn = 360 if cut and min(lon for lon, _ in ring) <= -180 else 0
        points += [(lon + turn, lat) for lon, lat in ring]
    lons, lats = zip(*points, strict=True)
    return min(lons), min(lats), max(lons), max(lats)
