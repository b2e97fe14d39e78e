"""Notes out of what users write: a table, a folder of markdown, RSWK's records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rsmoe.data.files.csv_files import read_csv
from rsmoe.data.files.file_names import FileTree, listed
from rsmoe.data.files.json_text import read_rows
from rsmoe.data.files.text_files import read_text
from rsmoe.errors import UserError
from rsmoe.knowledge.place_note import PlaceNote

_PLACE = ("id", "name", "image", "lon", "lat")
"""Columns of a table that are no facts."""
_RSWK_NAMES = ("ID", "image_name")


def read_notes(source: Path, *, images: Path | None = None) -> list[PlaceNote]:
    """The notes of a file or a folder, in its order.

    - ``.csv``, ``.tsv``: one place a row: ``id`` or ``name``, ``image`` and / or ``lon`` and ``lat``, and facts under
      any other name: the cell 1962 of the column "built" is the note "alder ferry, built 1962";
    - a folder of ``.md``: one place a file, which begins with ``image:`` and / or ``lon:`` and ``lat:`` between two
      lines ``---``; its heading is the name, and every paragraph and item of a list is a note;
    - ``.json``, ``.jsonl``: records of RSWK (RS-RAG, arXiv 2504.04988), one landmark each: every entry of its sections
      is a note, and its picture is called like its ID or its name.

    Args:
        images: the folder that pictures are named in; None: that of ``source``.

    Raises:
        UserError: nothing there, another format (naming the place), a note without a picture and a point, a picture
            that is not there, coordinates that are none, an id that comes twice.
    """
    if not source.exists():
        raise UserError(f"no notes in {source}: give a .csv, a folder of .md, or the .json of RSWK's records")
    home = images or (source if source.is_dir() else source.parent)
    if not home.is_dir():
        raise UserError(f"images={home} is no folder: give the one that the notes name their pictures in")
    tree = FileTree(home, source=str(source))
    if source.is_dir():
        rows = _markdown(source)
    elif source.suffix.lower() in (".csv", ".tsv"):
        rows = _table(source)
    elif source.suffix.lower() in (".json", ".jsonl"):
        rows = _records(source, tree)
    else:
        raise UserError(f"{source} is no .csv, no folder of .md and no .json of RSWK's records")
    notes = [
        PlaceNote(id=key, text=text, **place)
        for where, own, texts in rows
        for place in [_place(where, own, tree)]
        for key, text in texts.items()
    ]
    if not notes:
        raise UserError(f"{source} holds no note")
    if twice := [key for key, times in Counter(note.id for note in notes).items() if times > 1]:
        raise UserError(f"{source}: {len(twice)} ids come more than once: {', '.join(twice[:5])}; add a column id")
    return notes


_Rows = Iterator[tuple[str, Mapping[str, Any], dict[str, str]]]
"""Where it stands, image and coordinates, and id -> text of the notes of each place."""


def _table(path: Path) -> _Rows:
    for where, row in read_csv(path):
        name = row.get("name") or row.get("id")
        if not name:
            raise UserError(f"{where}: no 'name' and no 'id'; found {', '.join(map(repr, row))}")
        key, facts = row.get("id") or name, {k: v for k, v in row.items() if v and k not in _PLACE}
        yield where, row, {f"{key}#{fact}": f"{name}, {fact} {value}" for fact, value in facts.items()}


def _markdown(folder: Path) -> _Rows:
    for path in listed(folder, ".md"):
        head, body = {}, read_text(path)
        if parts := re.match(r"---\n(.*?)\n---\n", body, re.DOTALL):
            try:
                head, body = yaml.safe_load(parts[1]), body[parts.end() :]
            except yaml.YAMLError as error:
                raise UserError(f"{path}: what stands between --- and --- is no yaml: {error}") from error
            if not isinstance(head, dict):
                raise UserError(
                    f"{path}: expected image: or lon: and lat: between --- and ---, found {parts[1][:60]!r}"
                )
        title = re.search(r"^#\s+(.+)$", body, re.MULTILINE)
        name = title[1].strip() if title else path.stem
        parts_of = re.split(r"\n\s*\n|\n(?=\s*[-*] )", re.sub(r"^#.*$", "\n", body, flags=re.MULTILINE))
        texts = [" ".join(part.split()).removeprefix("- ").removeprefix("* ") for part in parts_of]
        kept = [text for text in texts if text]
        yield str(path), head, {f"{path.stem}#{i}": f"{name}: {text}" for i, text in enumerate(kept, start=1)}


def _records(path: Path, tree: FileTree) -> _Rows:
    for where, row in read_rows(path):
        named = [str(row[key]) for key in _RSWK_NAMES if row.get(key)]
        if not named:
            raise UserError(f"{where}: no 'ID' and no 'image_name'; found {', '.join(map(repr, row))}")
        sections = [value for key, value in row.items() if isinstance(value, Mapping)]
        facts = {key: value for section in sections for key, value in section.items() if value}
        name = str(facts.pop("Name", named[-1]))
        image = next((f"{one}.png" for one in named if tree.find(f"{one}.png")), None)
        texts = {f"{named[0]}#{key}": f"{name}, {_plain(key)}: {_plain(value)}" for key, value in facts.items()}
        yield where, {"image": image}, texts


def _plain(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value).replace("_", " ")


def _place(where: str, row: Mapping[str, Any], tree: FileTree) -> dict[str, Any]:
    """Picture and point of a place."""
    image, lon, lat = (row.get(key) or None for key in ("image", "lon", "lat"))
    if (lon is None) != (lat is None):
        raise UserError(f"{where}: lon and lat go together, and one of them is missing")
    if image is None and lon is None:
        raise UserError(f"{where}: neither an image nor lon and lat: nothing says which picture this is about")
    picture = None
    if image is not None and (picture := tree.find(str(image))) is None:
        raise UserError(f"{where}: no picture {image} in {tree.root}; give images=<folder>")
    point = None
    if lon is not None and lat is not None:
        try:
            point = (float(lon), float(lat))
        except (TypeError, ValueError):
            point = (999.0, 999.0)
        if not (-180 <= point[0] <= 180 and -90 <= point[1] <= 90):
            raise UserError(f"{where}: lon={lon} lat={lat} are no degrees: expected -180 to 180 and -90 to 90")
    return {"picture": None if picture is None else picture.absolute(), "point": point}
