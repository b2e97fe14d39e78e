"""Rows of a table of one's own, and what may stand in them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.annotations import is_number, read_json, require_file
from rsmoe.data.file_names import FileTree, below
from rsmoe.data.jsonl import read_rows
from rsmoe.errors import UserError


def read_table(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(place, row) of every row; lists in the cells of a CSV are taken apart, empty cells left out."""
    if path.suffix == ".jsonl":
        return read_rows(path)
    if path.suffix != ".csv":
        raise UserError(f"{path.name} should end in .jsonl or .csv")
    rows: list[tuple[str, dict[str, Any]]] = []
    try:
        with require_file(path).open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, strict=True)
            for row in table:
                where = f"{path.name}, line {table.line_num}"
                if None in row or None in row.values():
                    raise UserError(f"{where}: expected {len(table.fieldnames or ())} cells: quote texts with a comma")
                cells: dict[str, Any] = {key: text.strip() for key, text in row.items() if text.strip()}
                for key in {"images", "responses", "labels"} & set(cells):
                    cells[key] = [part.strip() for part in cells[key].split("|")]
                rows.append((where, cells))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV in UTF-8: {error}") from error
    return rows


def value_of(row: dict[str, Any], key: str, where: str, *, default: Any = None, required: bool = False) -> Any:
    """The value of a column, its default, or a `UserError` that lists the columns there are."""
    value = row.get(key)
    value = default if value is None else value
    if required and (value is None or not str(value).strip()):
        raise UserError(f"{where}: no {key!r}; found {', '.join(map(repr, row)) or '(nothing)'}")
    return value


def texts_of(row: dict[str, Any], one: str, several: str, where: str) -> list[str]:
    """The texts of a column, or of its plural: exactly one of the two, and no empty text."""
    given = [key for key in (one, several) if row.get(key) is not None]
    if len(given) != 1:
        raise UserError(f"{where}: expected {one!r} or {several!r}, one of them; found {', '.join(map(repr, row))}")
    value = row[given[0]]
    texts = value if isinstance(value, list) else [value]
    if not texts or any(
        isinstance(t, bool) or not isinstance(t, str | int | float) or not str(t).strip() for t in texts
    ):
        raise UserError(f"{where}: {given[0]!r} should hold texts, found {str(value)[:60]!r}")
    return [str(text).strip() for text in texts]


def boxes_of(value: Any, where: str, files: FileTree | None = None) -> np.ndarray | None:
    """(n, 4) or (n, 5) float64 pixels out of a list, its json text, or the path of a json file; not yet held against
    the picture."""
    if value is None:
        return None
    if isinstance(value, str) and files is not None and not value.lstrip().startswith("["):
        value = read_json(file_of(value, files))
    elif isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: boxes {value[:60]!r} are not json ({error.msg})") from error
    rows = value if isinstance(value, list) else [value]
    widths = {len(box) if isinstance(box, list) else 0 for box in rows}
    if len(widths) != 1 or not widths <= {4, 5} or not all(is_number(n) for box in rows for n in box):
        raise UserError(
            f"{where}: expected boxes as [[x1, y1, x2, y2], ...] or [[cx, cy, w, h, angle_deg], ...] in pixels, "
            f"found {str(value)[:80]}"
        )
    return np.asarray(rows, dtype=np.float64)


def file_of(name: str, files: FileTree) -> Path:
    """The file that a table names; raises a `UserError` that lists what is there instead."""
    return files.find(name) or require_file(below(files.root, name, source=files.source))
