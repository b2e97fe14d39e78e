"""Where a release is, and what its files must hold: every failure says what to mend."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from rsmoe.data.files.json_text import read_json as read_json
from rsmoe.data.files.links import remember_root
from rsmoe.data.files.text_files import contents as contents
from rsmoe.data.files.text_files import read_lines as read_lines
from rsmoe.data.files.text_files import require_file as require_file
from rsmoe.data.files.values import id_of, text_of
from rsmoe.data.files.values import is_number as is_number
from rsmoe.errors import UserError, require_known

Value = TypeVar("Value")
"""Type of the values of a mapping."""

_DIRECTION = re.compile(
    r"\b(left|right|top|bottom|upper|lower|above(?! analysis\b)|below|beneath|underneath"
    r"|leftmost|rightmost|topmost|bottommost"
    r"|(north|south)[- ]?(east|west)?(ern|wards?)?|(east|west)(ern|wards?)?"
    r"|vertical(ly)?|horizontal(ly)?|diagonal(ly)?|(counter|anti)?-?clockwise)\b",
    re.IGNORECASE,
)


def is_directional(*texts: str) -> bool:
    """Whether a text names a side, a compass point or an orientation, so that its picture must not be turned.

    "up" and "down" are left out: in captions they are mostly verbs ("cars line up"). So is the "above" of "based on
    the above analysis", which ChangeChat's dialogues say of what was answered before.
    """
    return any(_DIRECTION.search(text) for text in texts)


def data_root(root: str | Path | None, name: str) -> Path:
    """The folder of release ``name``: ``root``, or its sub-folder ``name``; ``$RSMOE_DATA/<name>`` without a ``root``.

    Files in it that are links may not lead out of it, see `rsmoe.data.files.links`.

    Raises:
        UserError: when that folder is not there, or when neither was given.
    """
    if root is not None:
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise UserError(
                f"the data root of {name!r} is not a folder: {folder}. Give the folder of the release, "
                f"data.root=/path/to/{name}, or leave it out and export RSMOE_DATA=/path/to/the/folder/above"
            )
        remember_root(folder)  # the release may be a folder in it, whose files share pictures with its neighbours
        return folder / name if (folder / name).is_dir() else folder
    base = os.environ.get("RSMOE_DATA")
    if not base:
        raise UserError(
            f"no data root for {name!r}. Type data.root=/path/to/{name}, "
            f"or export RSMOE_DATA=/path/to/the/folder/that/holds/{name}"
        )
    folder = Path(base).expanduser() / name
    if not folder.is_dir():
        raise UserError(
            f"RSMOE_DATA={base} holds no folder {name!r}. Put the release there, or type data.root=/path/to/{name}"
        )
    return remember_root(folder)


def other_root(given: str | None, name: str, *, folder: Path, root: str | None) -> Path:
    """The folder of release ``name``, whose pictures the release in ``folder`` is about.

    Args:
        given: where it is; None means beside ``folder``, where that was itself given and it is there, or else
            ``$RSMOE_DATA/<name>``.
        folder: of the release that asks.
    """
    beside = folder.parent / name
    return data_root(beside if given is None and root is not None and beside.is_dir() else given, name)


def field(row: Any, key: str, kind: type[Value], where: str) -> Value:
    """``row[key]``, checked to be a ``kind``.

    Args:
        key: the key that the format prescribes.
        where: the place, for the message: "captions.json, annotations[3]".

    Raises:
        UserError: naming the key that is missing and those that were found.
    """
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object with the key {key!r}, found {type(row).__name__}")
    if key not in row:
        found = ", ".join(map(repr, row)) or "(none)"
        raise UserError(f"{where}: no key {key!r}; found {found}. This is not the format that the reader expects")
    value = row[key]
    if not isinstance(value, kind) or (kind is int and not is_number(value)):
        raise UserError(f"{where}: {key!r} should be {kind.__name__}, found {type(value).__name__} {str(value)[:40]!r}")
    if isinstance(value, str):
        text_of(value, f"{where}: {key!r}")
    return value


def numbers(row: Any, key: str, count: int, where: str) -> tuple[float, ...]:
    """``row[key]`` as ``count`` finite numbers; raises `UserError` for anything else."""
    values = field(row, key, list, where)
    if len(values) != count or not all(is_number(value) for value in values):
        raise UserError(f"{where}: {key!r} should be {count} numbers, found {str(values)[:80]}")
    return tuple(map(float, values))


def captions_of(written: Iterable[Any], where: str) -> tuple[str, ...]:
    """The sentences of one image that are not empty, stripped; `UserError` when there is none, or one is no text."""
    captions = tuple(filter(None, (text_of(one, f"{where}: a sentence") for one in written)))
    if not captions:
        raise UserError(f"{where}: no sentence, so that nothing can be learned or measured. Remove it")
    return captions


def rows_by_id(content: Any, key: str, file: str) -> dict[str, dict[str, Any]]:
    """The objects of the list ``content[key]`` by their "id", as COCO's json has them; see `identity`.

    Raises:
        UserError: for an id that two different objects have.
    """
    rows: dict[str, dict[str, Any]] = {}
    for i, row in enumerate(field(content, key, list, file)):
        where = f"{file}, {key}[{i}]"
        number = identity(row, "id", where)
        if rows.setdefault(number, row) | {"id": number} != row | {"id": number}:
            raise UserError(
                f"{where}: the id {number} is there twice, for {str(rows[number])[:80]} and {str(row)[:80]}. "
                "Nothing says which is meant: give each an id of its own"
            )
    return rows


def identity(row: Any, key: str, where: str) -> str:
    """``row[key]``, an id or a name, which is a whole number in one file and a text in the next: 101 is "101"."""
    value: object = field(row, key, object, where)
    return id_of(value, f"{where}: {key!r}")


def require_split(name: str, split: str, known: list[str]) -> None:
    """Refuses a split that a release does not have, listing those it has."""
    if not known:
        raise UserError(f"{name} is empty: its annotations name no image")
    require_known(f"split of {name}", split, known=known)
