"""The pictures that STAC items name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rsmoe.archive.picture import Picture, stamp_of
from rsmoe.data.files.byte_ranges import is_url
from rsmoe.data.files.file_names import is_picture
from rsmoe.data.files.json_text import read_json
from rsmoe.errors import UserError
from rsmoe.geo.georeference import WGS84, Georeference

_FORMATS = ("image/tiff", "image/jp2", "image/png", "image/jpeg", "image/webp")
_ASIDE = {"thumbnail", "overview", "metadata"}
"""Roles of what is no picture to search, or a small copy of one."""
_WHOLE = "visual"
"""What catalogues call the asset that has red, green and blue in one file."""


def stac_pictures(path: Path, *, asset: str | None = None) -> list[Picture]:
    """One picture an item (SpatioTemporal Asset Catalog 1.0), named by the item's id.

    Its day is the item's ``datetime``, or ``start_datetime``. Where its file has no georeference, it is taken to fill
    the item's ``bbox``, north up.

    Args:
        path: of a json: an item, or an item collection. Addresses of assets are relative to it.
        asset: which asset of each item; None: the only one that is a picture and neither thumbnail nor overview, or
            "visual" where there are several.

    Raises:
        UserError: no such json, an item without that asset or with several pictures, a bbox or a date that is none.
    """
    content = read_json(path)
    items = content.get("features") if isinstance(content, dict) and content.get("type") != "Feature" else [content]
    if not isinstance(items, list) or not all(isinstance(i, dict) and isinstance(i.get("assets"), dict) for i in items):
        raise UserError(f"{path} holds no STAC items: expected an item, or an item collection, with assets")
    found = [_picture(path, item, asset) for item in items]
    if len({picture.path for picture in found}) < len(found):
        raise UserError(f"{path}: several items have one id")
    return found


def _picture(path: Path, item: dict[str, Any], wanted: str | None) -> Picture:
    where = f"{path}, item {item.get('id')}"
    chosen = _asset(item["assets"], wanted, where)
    href = chosen.get("href")
    if not isinstance(href, str) or not href:
        raise UserError(f"{where}: its asset has no href")
    href = href.removeprefix("file://")
    content = href if is_url(href) else _beside(path, href)
    said = item.get("properties") or {}
    place, day = _place(item.get("bbox"), where), _day(said, where)
    size = chosen.get("file:size")
    stamp = stamp_of(content) if isinstance(content, Path) else f"{size if isinstance(size, int) else 0}."
    facts = json.dumps([href, item.get("bbox"), day, said.get("updated"), chosen.get("file:checksum")])
    return Picture(
        path=f"{path.absolute()}/{item.get('id')}",
        stamp=f"{stamp}.{hashlib.sha256(facts.encode()).hexdigest()[:16]}",
        content=content,
        place=place,
        day=day,
    )


def _beside(path: Path, href: str) -> Path:
    """A file whose name may be written as addresses are ("my%20scene.tif")."""
    folder = path.absolute().parent
    return folder / href if (folder / href).is_file() else folder / unquote(href)


def _asset(assets: Mapping[str, Any], wanted: str | None, where: str) -> Mapping[str, Any]:
    pictures = [name for name, asset in assets.items() if _shows(asset)]
    name = wanted or (pictures[0] if len(pictures) == 1 else _WHOLE)
    if name not in assets:
        raise UserError(
            f"{where}: choose one of its assets, asset=...: {', '.join(pictures or assets) or 'it has none'}"
        )
    found: Mapping[str, Any] = assets[name]
    return found


def _shows(asset: Mapping[str, Any]) -> bool:
    """Whether an asset is a picture to search."""
    kind = str(asset.get("type") or "").partition(";")[0]
    known = kind in _FORMATS if kind else is_picture(str(asset.get("href")).rpartition("/")[2])
    return known and not _ASIDE & set(asset.get("roles") or ())


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


def _day(properties: Mapping[str, Any], where: str) -> str | None:
    told = properties.get("datetime") or properties.get("start_datetime")
    if told is None:
        return None
    try:
        return date.fromisoformat(str(told)[:10]).isoformat()
    except ValueError as error:
        raise UserError(f"{where}: datetime {told!r} is no date") from error
