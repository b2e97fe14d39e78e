"""Items of a SpatioTemporal Asset Catalog (STAC 1.0): what was taken when and where, and which file shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rsmoe.data.files.byte_ranges import is_url
from rsmoe.data.files.file_names import is_picture
from rsmoe.data.files.json_text import read_json
from rsmoe.errors import UserError

STAC_SUFFIXES = (".json", ".geojson")
_FORMATS = ("image/tiff", "image/jp2", "image/png", "image/jpeg", "image/webp")
_ASIDE = {"thumbnail", "overview", "metadata"}
"""Roles of what is no picture to look at, or a small copy of one."""
_WHOLE = "visual"
"""What catalogues call the asset that has red, green and blue in one file."""


@dataclass(frozen=True, kw_only=True)
class StacItem:
    """One item, and the asset of it that is looked at."""

    id: str
    source: Path
    """Of the json that holds it."""
    asset: str
    """Its name."""
    content: Path | str
    """Its file, or its address."""
    said: Mapping[str, Any]
    """The item as it stands there."""
    facts: Mapping[str, Any]
    """The asset as it stands there."""

    @property
    def datetime(self) -> str | None:
        """``datetime``, or ``start_datetime``, as it is written; `UserError` for one that begins with no date."""
        properties = self.said.get("properties") or {}
        told = properties.get("datetime") or properties.get("start_datetime")
        if told is None:
            return None
        try:
            date.fromisoformat(str(told)[:10])
        except ValueError as error:
            raise UserError(f"{self.source}, item {self.id}: datetime {told!r} is no date") from error
        return str(told)

    @classmethod
    def of(cls, source: Path, said: Mapping[str, Any] | UserError, *, asset: str | None = None) -> StacItem:
        """What one of `found_items` says.

        Args:
            asset: None: the only one that is a picture and neither thumbnail nor overview, or "visual" where there are
                several.

        Raises:
            UserError: it could not be read, or has no id, or not that asset, or several pictures, or no address.
        """
        if isinstance(said, UserError):
            raise said
        where = f"{source}, item {said.get('id')}"
        if not isinstance(said.get("id"), str) or not said["id"]:
            raise UserError(f"{where}: it has no id")
        name = _asset(said["assets"], asset, where)
        facts = said["assets"][name]
        href = facts.get("href") if isinstance(facts, dict) else None
        if not isinstance(href, str) or not href:
            raise UserError(f"{where}: its asset has no href")
        href = href.removeprefix("file://")
        content = href if is_url(href) else beside(source, href)
        return cls(id=said["id"], source=source, asset=name, content=content, said=said, facts=facts)


def found_items(path: Path) -> Iterator[tuple[Path, Mapping[str, Any] | UserError]]:
    """The items of a json, each with the file that holds it: an item, an item collection, or a catalogue (or
    collection) with all that it links to as "item" or "child".

    A link that cannot be read is an error in the place of an item.

    Raises:
        UserError: no such json, or one that is none of these.
    """
    yield from _found(path, {path.resolve()})


def _found(path: Path, seen: set[Path]) -> Iterator[tuple[Path, Mapping[str, Any] | UserError]]:
    content = read_json(path)
    kind = content.get("type") if isinstance(content, dict) else None
    if kind in ("Catalog", "Collection"):
        for link in content.get("links") or ():
            if isinstance(link, dict) and link.get("rel") in ("item", "child"):
                yield from _linked(path, str(link.get("href") or ""), seen)
        return
    items = content.get("features") if isinstance(content, dict) and kind != "Feature" else [content]
    if not isinstance(items, list) or not all(isinstance(i, dict) and isinstance(i.get("assets"), dict) for i in items):
        raise UserError(
            f"{path} holds no STAC items: expected an item, an item collection, with assets, or a catalogue with links"
        )
    yield from ((path, item) for item in items)


def _linked(path: Path, href: str, seen: set[Path]) -> Iterator[tuple[Path, Mapping[str, Any] | UserError]]:
    if is_url(href):
        yield path, UserError(f"{path} links to {href}: download the catalogue, with what it links to")
        return
    target = beside(path, href.removeprefix("file://"))
    if target.resolve() in seen:
        return
    seen.add(target.resolve())
    try:
        yield from _found(target, seen)
    except UserError as error:
        yield target, error


def beside(path: Path, href: str) -> Path:
    """A file whose name may be written as addresses are ("my%20scene.tif"), relative to the json that names it."""
    folder = path.absolute().parent
    return folder / href if (folder / href).is_file() else folder / unquote(href)


def _asset(assets: Mapping[str, Any], wanted: str | None, where: str) -> str:
    pictures = [name for name, asset in assets.items() if _shows(asset)]
    name = wanted or (pictures[0] if len(pictures) == 1 else _WHOLE)
    if name not in assets:
        raise UserError(
            f"{where}: choose one of its assets, asset=...: {', '.join(pictures or assets) or 'it has none'}"
        )
    return name


def _shows(asset: Any) -> bool:
    """Whether an asset is a picture to look at."""
    if not isinstance(asset, dict):
        return False
    kind = str(asset.get("type") or "").partition(";")[0]
    known = kind in _FORMATS if kind else is_picture(str(asset.get("href")).rpartition("/")[2])
    return known and not _ASIDE & set(asset.get("roles") or ())
