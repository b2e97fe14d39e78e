"""Tables in json: one object a line, or a list of objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsmoe.data.files.json_text import parse_json, read_json
from rsmoe.data.files.text_files import iter_lines, stripped
from rsmoe.errors import UserError


def read_jsonl(path: Path) -> list[tuple[str, Any]]:
    """(place, value) of every line that is not blank; the place, "file.jsonl, line 3", is for messages.

    Raises:
        UserError: when the file is missing, is no text, or has a line that is not json (naming it).
    """
    found = []
    for number, line in iter_lines(path):
        if text := stripped(line):
            value = parse_json(text, str(path), line=number, advice="Download the file again")
            found.append((f"{path.name}, line {number}", value))
    return found


def read_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(place for messages, object) of every row of a .jsonl file, or of a .json that holds one list.

    Raises:
        UserError: for a file that is missing or not json, and a row that is no object (naming it).
    """
    if path.suffix.lower() == ".jsonl":
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
