"""Requests out of what a user names: a file, its dates, a folder, a pattern, a list, an address, a jsonl."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsmoe.data.files.byte_ranges import is_url
from rsmoe.data.files.file_names import FolderFiles, globbed, is_picture, stem
from rsmoe.data.files.json_text import read_rows
from rsmoe.data.files.stac_items import STAC_SUFFIXES, StacItem, found_items
from rsmoe.data.files.values import id_of, present
from rsmoe.data.readers.own_rows import texts_of, value_of
from rsmoe.data.tasks import task_names
from rsmoe.errors import UserError, unknown_name
from rsmoe.evaluation.request import Request


def list_requests(
    image: str | Sequence[str],
    *,
    dates: int | None,
    instruction: str | None,
    asset: str | None = None,
    region: Any = None,
) -> list[Request]:
    """The requests of ``image=``.

    - a file or an address: one request;
    - a folder, or a pattern with ``*``: one request for each picture in it;
    - a list: the dates of one request; with ``dates`` one request for each so many of it;
    - a list of folders: pairs (or more dates) of pictures of one name;
    - a json of STAC items, or a catalogue of them: one request for an asset of each, see `rsmoe.data.files.stac_items`.
      What is wrong with one of them is told when it is asked, and does not stop the others.

    Args:
        dates: pictures of one request; None takes a list as the dates of one.
        asset: of STAC items, see `rsmoe.data.files.stac_items.StacItem.of`.
        region: of every request, see `rsmoe.evaluation.asked_region`.

    Raises:
        UserError: a file that is not there, no picture in a folder, a picture without its other date.
    """
    words = [image] if isinstance(image, str) else list(image)
    if len(words) == 1 and not is_url(words[0]) and Path(words[0]).suffix.lower() in STAC_SUFFIXES:
        if dates is not None and dates > 1:
            raise UserError(f"dates={dates} takes files together; the items of {words[0]} are a request each")
        return [replace(own, region=region) for own in _of_items(Path(words[0]), instruction, asset)]
    if asset is not None:
        raise UserError(f"asset={asset} is of STAC items, and image={image} is no json of them")
    groups: list[tuple[str, tuple[str, ...]]]
    folders = [Path(word) for word in words if not is_url(word) and Path(word).is_dir()]
    if len(words) > 1 and folders:
        if len(folders) < len(words):
            raise UserError(f"image={words}: expected files or folders, got some of both")
        groups = _pairs(folders)
    elif len(words) == 1:
        groups = [(name, (picture,)) for name, picture in find_pictures(words[0])]
        if dates is not None and dates > 1:
            groups = [(_name(own[0]), own) for own in _chunks([own[0] for _, own in groups], dates)]
    else:
        for word in words:
            if not is_url(word) and not Path(word).is_file():
                raise UserError(
                    f"no image file {word}; image=[a,b] is split at its commas: a name that holds one goes in quotes, "
                    "image=['a,b.tif',c.tif]"
                )
        groups = [(_name(own[0]), own) for own in _chunks(words, dates or len(words))]
    ids = _different([name for name, _ in groups])
    return [
        Request(id=own, pictures=pictures, instruction=instruction, region=region)
        for own, (_, pictures) in zip(ids, groups, strict=True)
    ]


def read_requests(path: Path, *, instruction: str | None) -> list[Request]:
    """The requests of a jsonl, one object a line::

        {"id": "7", "image": "port.png", "instruction": "How many ships are there?"}
        {"images": ["1985.tif", "2020.tif"], "instruction": "What has changed?"}

    with ``image`` or ``images`` (the dates of one request), relative to the file or an http(s) address.
    ``instruction``, ``id`` (default: file and line), ``task``, ``history`` ([[question, answer], ...]) and ``region``
    (see `rsmoe.evaluation.asked_region`) may be left out.

    Raises:
        UserError: naming the line, for a row that is not of this form, and for an id that occurs twice.
    """
    requests = []
    for where, given in read_rows(path):
        row = present(given)
        task = value_of(row, "task", where) if row.get("task") else ""
        if task and task not in task_names():
            raise UserError(f"{where}: {unknown_name('task', task, task_names())}")
        history = row.get("history", [])
        if not isinstance(history, list) or not all(
            isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)
            for turn in history
        ):
            raise UserError(f"{where}: expected history as [[question, answer], ...], found {str(history)[:60]}")
        pictures = (
            name if is_url(name) else str(path.parent / name) for name in texts_of(row, "image", "images", where)
        )
        requests.append(
            Request(
                id=id_of(row.get("id", where), f"{where}: 'id'"),
                pictures=tuple(pictures),
                instruction=value_of(row, "instruction", where) if row.get("instruction") else instruction,
                history=tuple((question, answer) for question, answer in history),
                task=task,
                region=row.get("region"),
            )
        )
    twice = [key for key, n in Counter(request.id for request in requests).items() if n > 1]
    if twice or not requests:
        raise UserError(
            f"{path}: {len(twice)} ids occur more than once: {', '.join(twice[:5])}" if twice else f"{path}: no request"
        )
    return requests


def find_pictures(word: str) -> list[tuple[str, str]]:
    """(name, picture) of one word: a file, an address, a folder with those below it, or a pattern.

    Raises:
        UserError: there is none.
    """
    path = Path(word)
    if is_url(word) or path.is_file():
        return [(_name(word), word)]
    if path.is_dir():
        found = [(p.relative_to(path).as_posix(), str(p)) for p in globbed(path, "**/*")]
        if not found:
            raise UserError(f"{word} holds no picture; a folder may hold others, which are searched too")
        return found
    if re.search(r"[*?\[]", word):
        names = sorted(name for name in glob.glob(word, recursive=True) if is_picture(Path(name).name))
        found = [(_name(name), name) for name in names if Path(name).is_file()]
        if found:
            return found
        raise UserError(f"{word}: no picture fits this pattern")
    raise UserError(f"no image file or folder {word}")


def _of_items(path: Path, instruction: str | None, asset: str | None) -> list[Request]:
    """A request on each item of a json or a catalogue."""
    requests = []
    for source, said in found_items(path):
        try:
            item = StacItem.of(source, said, asset=asset)
            about = {"item": item.id, "datetime": item.datetime or "", "asset": item.asset}
            own = Request(id=item.id, pictures=(str(item.content),), instruction=instruction, about=about)
        except UserError as error:
            name = str(said.get("id") or source.stem) if isinstance(said, Mapping) else source.stem
            about, refused = {"item": name}, str(error)
            own = Request(id=name, pictures=(str(source),), instruction=instruction, about=about, refused=refused)
        requests.append(own)
    if not requests:
        raise UserError(f"{path} holds no STAC items: the catalogue links to none")
    ids = _different([request.id for request in requests])
    return [replace(request, id=own) for request, own in zip(requests, ids, strict=True)]


def _different(names: Sequence[str]) -> list[str]:
    """The names, those that were there before with a number."""
    met: Counter[str] = Counter()
    found = []
    for name in names:
        met[name] += 1
        found.append(name if met[name] == 1 else f"{name} ({met[name]})")
    return found


def _pairs(folders: Sequence[Path]) -> list[tuple[str, tuple[str, ...]]]:
    """The pictures of the first folder, each with those of its name in the others."""
    others = [FolderFiles(folder, source="image=") for folder in folders[1:]]
    groups = []
    for path in globbed(folders[0], "*"):
        found = [other.find(path.name) for other in others]
        if None in found:
            raise UserError(f"{path} has no other date in {folders[1 + found.index(None)]}: call both by one name")
        groups.append((stem(path.name), (str(path), *map(str, found))))
    if not groups:
        raise UserError(f"{folders[0]} holds no picture")
    return groups


def _chunks(pictures: Sequence[str], dates: int) -> list[tuple[str, ...]]:
    if len(pictures) % dates:
        raise UserError(f"{len(pictures)} pictures are no groups of dates={dates}")
    return [tuple(pictures[i : i + dates]) for i in range(0, len(pictures), dates)]


def _name(word: Any) -> str:
    return stem(word.partition("?")[0]) if is_url(str(word)) else stem(Path(word).name)
