"""Tables in json: a list of objects, or one object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsmoe.data.annotations import read_json
from rsmoe.data.jsonl import read_jsonl
from rsmoe.errors import UserError


def read_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(place for messages, object) of every row of a .jsonl file, or of a .json that holds one list.

    Raises:
        UserError: for a file that is missing or not json, and a row that is no object (naming it).
    """
    if path.suffix == ".jsonl":
        rows = read_jsonl(path)
    else:
        content = read_json(path)
        if not isinstance(content, list):
            raise UserError(f"{path.name}: expected a list of objects, found {type(content).__name__}")
        rows = [(f"{path.name}, [{i}]", row) for i, row in enumerate(content)]
    for where, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected an object, found {type(row).__name__} {str(row)[:60]!r}")
    return rows
