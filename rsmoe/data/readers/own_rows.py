"""Rows of a custom table, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.files.csv_files import read_csv
from rsmoe.data.files.file_names import FileTree, below
from rsmoe.data.files.json_text import parse_json, read_rows
from rsmoe.data.files.text_files import require_file
from rsmoe.data.files.values import present, shown, text_of, written_text
from rsmoe.data.readers.annotations import is_number, read_json
from rsmoe.errors import UserError


def read_table(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(place, row) of every row; lists in the cells of a CSV are taken apart; empty cells, null and NaN left out."""
    if path.suffix.lower() == ".jsonl":
        return [(where, present(row)) for where, row in read_rows(path)]
    if path.suffix.lower() != ".csv":
        raise UserError(f"{path.name} should end in .jsonl or .csv")
    rows: list[tuple[str, dict[str, Any]]] = []
    for where, row in read_csv(path):
        cells: dict[str, Any] = {key: text for key, text in row.items() if text}
        for key in {"images", "responses", "labels"} & set(cells):
            cells[key] = [part.strip() for part in cells[key].split("|")]
        rows.append((where, cells))
    return rows


def value_of(row: dict[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    """The text of a column, or its default; `UserError` without both, listing the columns there are."""
    value = row.get(key, default)
    if value is None or not (text := text_of(value, f"{where}: {key!r}", number=True)):
        raise UserError(f"{where}: no {key!r}; found {', '.join(map(repr, row)) or '(nothing)'}")
    return text


def texts_of(row: dict[str, Any], one: str, several: str, where: str) -> list[str]:
    """The texts of a column, or of its plural: exactly one of the two, and no empty text."""
    given = [key for key in (one, several) if row.get(key) is not None]
    if len(given) != 1:
        raise UserError(
            f"{where}: expected {one!r} or {several!r}, one of them (null and NaN are none); found "
            f"{', '.join(map(repr, row))}"
        )
    value = row[given[0]]
    place = f"{where}: {given[0]!r} should hold texts, found {str(value)[:60]!r}"
    texts = [written_text(text, place) for text in (value if isinstance(value, list) else [value])]
    if not texts or not all(texts):
        raise UserError(place)
    return texts


def kind_of(row: dict[str, Any], where: str) -> str:
    """The column "kind"; "" where it is left out or empty."""
    return value_of(row, "kind", where) if row.get("kind", "") != "" else ""


def labels_of(row: dict[str, Any], boxes: np.ndarray | None, where: str) -> tuple[str, ...]:
    """The column "labels", one of each box; () where it is left out."""
    labels = tuple(texts_of(row, "label", "labels", where)) if row.get("labels") else ()
    count = 0 if boxes is None else len(boxes)
    if labels and len(labels) != count:
        raise UserError(f"{where}: {len(labels)} labels for {count} boxes")
    return labels


def box_fields(boxes: np.ndarray | None) -> dict[str, Any]:
    """The field of `Sample` that boxes (n, 4) or (n, 5) go into."""
    return {} if boxes is None else {"boxes_px" if boxes.shape[1] == 4 else "obb_px": boxes}


def row_splits(rows: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """The split of every row: that of its column, which all of them have to have; or, where none has one, "train" for
    eight pictures of ten and "val" and "test" for one each, by their names."""
    if any("split" in row for _, row in rows):
        return [value_of(row, "split", where) for where, row in rows]
    firsts = (texts_of(row, "image", "images", where)[0] for where, row in rows)
    places = (hashlib.sha256(first.encode()).digest()[0] * 10 // 256 for first in firsts)
    return [{8: "val", 9: "test"}.get(place, "train") for place in places]


def boxes_of(value: Any, where: str, files: FileTree | None = None) -> np.ndarray | None:
    """(n, 4) or (n, 5) float64 pixels out of a list, its json text, or the path of a json file; not yet held against
    the picture."""
    if value is None:
        return None
    if isinstance(value, str) and files is not None and not value.lstrip().startswith("["):
        value = read_json(file_of(value, files))
    elif isinstance(value, str):
        value = parse_json(value, f"{where}: boxes {value[:60]!r}", advice="Write [[x1, y1, x2, y2], ...]")
    rows = value if isinstance(value, list) else [value]
    widths = {len(box) if isinstance(box, list) else 0 for box in rows}
    if len(widths) != 1 or not widths <= {4, 5} or not all(is_number(n) for box in rows for n in box):
        raise UserError(
            f"{where}: expected boxes as [[x1, y1, x2, y2], ...] or [[cx, cy, w, h, angle_deg], ...] in pixels, "
            f"found {shown(value)}"
        )
    return np.asarray(rows, dtype=np.float64)


def file_of(name: str, files: FileTree) -> Path:
    """The file that a table names; raises a `UserError` that lists what is there instead."""
    return files.find(name) or require_file(below(files.root, name, source=files.source))
