"""Masks, boxes, embeddings and changes out of rows of references and answers, or a `UserError` at their place."""

from __future__ import annotations

from typing import Any

import numpy as np

from rsmoe.data.change.cells import CELLS
from rsmoe.data.files.values import is_missing, is_number, shown
from rsmoe.data.rasters.mask_sources import RLEMask
from rsmoe.errors import UserError


def mask_of(code: Any, where: str) -> RLEMask:
    """A mask in COCO's run-length code."""
    if not isinstance(code, dict) or not {"size", "counts"} <= set(code):
        raise UserError(f"{where}: a mask should be a COCO run-length code, {{'size': [h, w], 'counts': ...}}")
    try:
        return RLEMask(counts=code["counts"], size=code["size"])
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def read_mask(code: Any, where: str) -> np.ndarray:
    """(H, W) bool of a run-length code."""
    try:
        return mask_of(code, where).read()
    except UserError as error:
        raise error if str(error).startswith(where) else UserError(f"{where}: {error}") from error


def list_of(value: Any, where: str) -> list[Any]:
    """A list of anything."""
    if not isinstance(value, list):
        raise UserError(f"{where}: expected a list, found {shown(value)}")
    return value


def boxes_of(value: Any, where: str, width: int) -> np.ndarray:
    """(n, width) float32 boxes."""
    boxes = numbers_of(value, where, (2,)).astype(np.float32)
    if boxes.shape[1] != width:
        raise UserError(f"{where}: expected {width} numbers a box, found {shown(value)}")
    return boxes


def numbers_of(value: Any, where: str, dimensions: tuple[int, ...]) -> np.ndarray:
    """Lists of finite numbers, of one length each; NaN is no number."""
    rows = value if dimensions == (2,) else [value]
    good = isinstance(rows, list) and all(isinstance(row, list) and row and all(map(is_number, row)) for row in rows)
    if not good or len({len(row) for row in rows}) != 1:
        kind = "a list of numbers" if dimensions == (1,) else "lists of numbers, all of one length"
        raise UserError(f"{where}: expected {kind}, found {shown(value)}")
    return np.asarray(value, dtype=np.float64)


def outputs_of(row: dict[str, Any], where: str) -> dict[str, np.ndarray]:
    """ "outputs" of a row: name of a head -> what it gave, a number or a list of numbers."""
    given = {} if is_missing(row.get("outputs")) else row["outputs"]
    if not isinstance(given, dict):
        raise UserError(f"{where}: expected 'outputs' as {{name: numbers}}, found {shown(given)}")
    found = {}
    for name, value in given.items():
        if isinstance(value, dict):
            found[name] = read_mask(value, f"{where}: outputs {name!r}")
        elif is_number(value):
            found[name] = np.asarray(value, dtype=np.float64)
        else:
            nested = isinstance(value, list) and bool(value) and isinstance(value[0], list)
            found[name] = numbers_of(value, f"{where}: outputs {name!r}", (2,) if nested else (1,))
    return found


def change_of(row: dict[str, Any], where: str) -> dict[str, Any]:
    """ "changed", "change_counts" and "change_cells" of a row, as far as it has them."""
    found = {key: row[key] for key in ("changed", "change_counts", "change_cells") if not is_missing(row.get(key))}
    if "changed" in found and found["changed"] not in (True, False):
        raise UserError(f"{where}: expected 'changed' as true or false, found {shown(found['changed'])}")
    for key, expected in (("change_counts", "whole numbers by class"), ("change_cells", "lists of cells by class")):
        value = found.get(key, {"": 0 if key == "change_counts" else []})
        if not isinstance(value, dict) or not value or not all(_is_change(key, own) for own in value.values()):
            raise UserError(f"{where}: expected {key!r} as {expected}, found {shown(value)}")
    return found


def _is_change(key: str, value: Any) -> bool:
    if key == "change_counts":
        return isinstance(value, int) and is_number(value) and value >= 0
    return isinstance(value, list) and all(isinstance(cell, str) and cell in CELLS for cell in value)
