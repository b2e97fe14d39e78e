"""The two forms of VRSBench's files, as one kind of row."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.files.json_text import read_rows
from rsmoe.data.files.text_files import stripped
from rsmoe.data.files.values import is_missing, present, text_of
from rsmoe.data.readers import annotations as checks
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.errors import UserError

SIDE = 512
"""Width and height of every picture of the release, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VRSBenchRow:
    """One caption, referring expression or question; the size of its picture is not known yet."""

    id: str
    file: str
    """Name of the picture."""
    task: str
    """ "caption", "ground" or "vqa"."""
    question: str = ""
    """The question, or the expression."""
    answer: str = ""
    """The caption or the answer; of an expression the box in whole percent, where the file has it."""
    kind: str = ""
    """Type of the question, or class of the object."""
    coord: tuple[float, ...] = ()
    """``x1 y1 x2 y2`` of an object, parts of the sides, clipped to 0-1; empty where ``answer`` has the box."""
    corners: tuple[float, ...] = ()
    """Four corners of an object, parts of the sides."""
    meta: dict[str, Any] = field(default_factory=dict)


def image_rows(path: Path, tasks: tuple[str, ...], check: PictureCheck) -> list[VRSBenchRow]:
    """The rows of one image of the training part, ``Annotations_train/<image>.json``.

    Args:
        path: the file; its stem is the picture's.

    Raises:
        UserError: for another format, naming the key, and for an empty caption.
    """
    content, where = checks.read_json(path), path.name
    shared: dict[str, Any] = {"file": f"{path.stem}.png"}
    rows = []
    if "caption" in tasks:
        caption = checks.field(content, "caption", str, where)
        rows.append(_caption(f"{path.stem}:caption", caption, where, shared))
    for i, thing in enumerate(checks.field(content, "objects", list, where) if "ground" in tasks else ()):
        here, key = f"{where}, objects[{i}]", f"{path.stem}:object:{i}"
        checks.field(thing, "obj_cls", str, here)
        phrase = text_of(present(thing).get("referring_sentence", ""), f"{here}: 'referring_sentence'")
        if not phrase:
            check.leave_out("object without a sentence", key)
            continue
        coord = checks.numbers(thing, "obj_coord", 4, here)
        held = check.boxes(SIDE * np.array([coord]), (SIDE, SIDE), [f"{where}, {shared['file']}, objects[{i}]"])
        if not len(held.kept):
            continue
        coord = tuple((held.boxes[0].astype(np.float64) / SIDE).tolist())
        meta = {"unique": thing["is_unique"]} if "is_unique" in thing else {}
        rows.append(_expression(key, phrase, thing, here, shared | {"coord": coord, "meta": meta}))
    for i, pair in enumerate(checks.field(content, "qa_pairs", list, where) if "vqa" in tasks else ()):
        here, key = f"{where}, qa_pairs[{i}]", f"{path.stem}:question:{i}"
        rows += _question(key, pair, "answer", here, check, shared)
    return rows


def evaluation_rows(path: Path, task: str, check: PictureCheck) -> list[VRSBenchRow]:
    """The rows of one task of the official test part, ``VRSBench_EVAL_<...>.json``.

    Raises:
        UserError: for another format, naming the key, and for an empty caption.
    """
    rows = []
    for i, (where, row) in enumerate(read_rows(path)):
        key = f"{task}:{i}"
        shared: dict[str, Any] = {"file": checks.identity(row, "image_id", where)}
        kept = ("question_id", "dataset", "unique", "size_group", "obj_ids") if task == "ground" else ("question_id",)
        shared["meta"] = {k: row[k] for k in kept if k in row}
        if task == "caption":
            rows.append(_caption(key, checks.field(row, "ground_truth", str, where), where, shared))
        elif task == "vqa":
            rows += _question(key, row, "ground_truth", where, check, shared)
        else:
            shared["answer"] = checks.field(row, "ground_truth", str, where)
            place = f"{where}, {shared['file']}"
            if not check.words(shared["answer"], convention="vrsbench", size_px=None, place=place, boxes=1):
                continue
            rows.append(_expression(key, checks.field(row, "question", str, where), row, where, shared))
    return rows


def _caption(key: str, text: str, where: str, shared: dict[str, Any]) -> VRSBenchRow:
    if not (text := stripped(text)):
        raise UserError(f"{where}: the caption is empty")
    return VRSBenchRow(id=key, task="caption", answer=text, **shared)


def _expression(key: str, phrase: str, thing: Any, where: str, shared: dict[str, Any]) -> VRSBenchRow:
    return VRSBenchRow(
        id=key,
        task="ground",
        question=stripped(phrase).rstrip("."),
        kind=checks.field(thing, "obj_cls", str, where),
        corners=checks.numbers(thing, "obj_corner", 8, where),
        **shared,
    )


def _question(
    key: str, pair: Any, answer_key: str, where: str, check: PictureCheck, shared: dict[str, Any]
) -> list[VRSBenchRow]:
    question, kind = (stripped(checks.field(pair, k, str, where)) for k in ("question", "type"))
    value: object = checks.field(pair, answer_key, object, where)
    answer = "" if is_missing(value) else text_of(value, f"{where}: {answer_key!r}", number=True)  # some are numbers
    if not question or not answer:
        check.leave_out(f"empty {'answer' if question else 'question'}", key)
        return []
    return [VRSBenchRow(id=key, task="vqa", question=question, answer=answer, kind=kind.lower(), **shared)]
