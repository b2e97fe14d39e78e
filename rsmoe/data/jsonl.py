"""Tables in json: one object a line, or a list of objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rsmoe.data.annotations import read_json, require_file
from rsmoe.errors import UserError


def read_jsonl(path: Path) -> list[tuple[str, Any]]:
    """(place, value) of every line that is not blank; the place, "file.jsonl, line 3", is for messages.

    Raises:
        UserError: when the file is missing, is not UTF-8, or has a line that is not json (naming it).
    """
    rows = []
    try:
        with require_file(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append((f"{path.name}, line {number}", json.loads(line)))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {number}, is not json ({error.msg}, column {error.colno}). Download the file again"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason})") from error
    return rows


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
