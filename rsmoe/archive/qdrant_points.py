"""Tiles and sources as points of a Qdrant collection, and what is looked for as its filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from rsmoe.archive.tile import Source, Tile
from rsmoe.archive.where import Where
from rsmoe.geo.georeference import Georeference

if TYPE_CHECKING:
    from qdrant_client.models import FieldCondition, Filter

INDEXED = {
    "kind": "keyword", "path": "keyword", "whole": "bool", "day": "integer",
    "west": "float", "south": "float", "east": "float", "north": "float",
}  # fmt: skip
"""Fields that searches filter by, and their types."""


def point_id(*words: str) -> str:
    """Follows from what the point is: what is written twice is there once."""
    return str(uuid5(NAMESPACE_URL, "\n".join(("rsmoe", *words))))


def source_payload(source: Source) -> dict[str, Any]:
    """What is kept of a source."""
    grid = source.georeference
    held = None if grid is None else [grid.crs, list(grid.transform), grid.width, grid.height]
    day = None if source.day is None else _day(source.day, rest="00")
    return {"kind": "source", "path": source.path, "stamp": source.stamp, "date": source.day, "day": day, "grid": held}


def tile_payload(tile: Tile) -> dict[str, Any]:
    """All that a hit says, so that a search is one call."""
    box = dict(zip(("west", "south", "east", "north"), tile.box or (None,) * 4, strict=True))
    return source_payload(tile.source) | {"kind": "tile", "window": list(tile.window), "gsd_m": tile.gsd_m} | box


def tile_of(held: Mapping[str, Any]) -> Tile:
    """The tile of a payload."""
    place = None
    if held["grid"] is not None:
        crs, transform, width, height = held["grid"]
        place = Georeference(crs, tuple(transform), width, height)
    left, top, wide, high = held["window"]
    west, south, east, north = (held[side] for side in ("west", "south", "east", "north"))
    return Tile(
        source=Source(path=held["path"], stamp=held["stamp"], georeference=place, day=held["date"]),
        window=(left, top, wide, high),
        box=None if west is None else (west, south, east, north),
        gsd_m=held["gsd_m"],
    )


def _day(text: str, *, rest: str) -> int:
    """2020-08-30 -> 20200830; a month or a day that is not said is ``rest``."""
    parts = text.split("-")
    return int("".join([*parts, *[rest] * (3 - len(parts))]))


def having(**values: Any) -> Filter:
    """Points whose fields are these."""
    from qdrant_client.models import FieldCondition, Filter, MatchValue

    return Filter(must=[FieldCondition(key=key, match=MatchValue(value=value)) for key, value in values.items()])


def within(where: Where | None) -> Filter:
    """Tiles that meet the box and are of the days, by the rules of `Where`."""
    from qdrant_client.models import FieldCondition, Filter, Range

    def limits(key: str, **bounds: float) -> FieldCondition:
        return FieldCondition(key=key, range=Range(**bounds))

    some = having(kind="tile")
    assert isinstance(some.must, list)
    if where is not None and where.bbox is not None:
        west, south, east, north = where.bbox
        some.must += [limits("south", lte=north), limits("north", gte=south)]
        some.should = [  # east of 180 across the antimeridian
            Filter(must=[limits("west", lte=east + turn), limits("east", gte=west + turn)]) for turn in (0, 360)
        ]
    if where is not None and where.dates is not None:
        first, last = where.dates
        some.must.append(limits("day", gte=_day(first, rest="00"), lte=_day(last, rest="99")))
    return some
