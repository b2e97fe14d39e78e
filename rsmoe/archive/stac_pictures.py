"""The pictures that STAC items name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rsmoe.archive.picture import Picture, stamp_of
from rsmoe.data.files.stac_items import StacItem, found_items
from rsmoe.errors import UserError
from rsmoe.geo.georeference import WGS84, Georeference


def stac_pictures(path: Path, *, asset: str | None = None) -> list[Picture]:
    """One picture an item (SpatioTemporal Asset Catalog 1.0), named by the item's id.

    Its day is the item's ``datetime``, or ``start_datetime``. Where its file has no georeference, it is taken to fill
    the item's ``bbox``, north up.

    Args:
        path: of a json: an item, an item collection, or a catalogue, see `rsmoe.data.files.stac_items.found_items`.
            Addresses of assets are relative to the file that names them.
        asset: which asset of each item, see `rsmoe.data.files.stac_items.StacItem.of`.

    Raises:
        UserError: no such json, an item without that asset or with several pictures, a bbox or a date that is none.
    """
    found = [_picture(StacItem.of(source, said, asset=asset)) for source, said in found_items(path)]
    if not found:
        raise UserError(f"{path} holds no STAC items: the catalogue links to none")
    if len({picture.path for picture in found}) < len(found):
        raise UserError(f"{path}: several items have one id")
    return found


def _picture(item: StacItem) -> Picture:
    bbox, properties = item.said.get("bbox"), item.said.get("properties") or {}
    place, told = _place(bbox, f"{item.source}, item {item.id}"), item.datetime
    day = None if told is None else told[:10]
    size = item.facts.get("file:size")
    stamp = stamp_of(item.content) if isinstance(item.content, Path) else f"{size if isinstance(size, int) else 0}."
    href = str(item.facts["href"]).removeprefix("file://")
    facts = json.dumps([href, bbox, day, properties.get("updated"), item.facts.get("file:checksum")])
    return Picture(
        path=f"{item.source.absolute()}/{item.id}",
        stamp=f"{stamp}.{hashlib.sha256(facts.encode()).hexdigest()[:16]}",
        content=item.content,
        place=place,
        day=day,
    )


def _place(bbox: Any, where: str) -> Georeference | None:
    """The ground within a bbox, one pixel of it."""
    if bbox is None:
        return None
    try:
        west, south, east, north = map(float, bbox if len(bbox) == 4 else (*bbox[:2], *bbox[3:5]))
        east += 360 if east < west else 0  # across the antimeridian
        return Georeference(WGS84, (east - west, 0.0, west, 0.0, south - north, north), 1, 1)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: bbox={bbox} is no box of west, south, east, north") from error
