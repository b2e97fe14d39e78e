"""Instruction releases in LLaVA's json: SkyEye-968k, RS-GPT4V, GeoChat_Instruct, TEOChatlas, and custom ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.boxes import box_corners, convention, hbb_of_obb, hold_boxes, parse
from rsmoe.data.boxes.region import Region
from rsmoe.data.files.json_text import read_rows
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, require_split
from rsmoe.data.readers.conversations import Dialogue, DialogueForm, holds_coordinates, read_dialogue
from rsmoe.data.readers.declared_tasks import DeclaredTasks, TaskName, check_task
from rsmoe.data.readers.picture_check import PictureCheck, seen_size
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LlavaPart:
    """One file of conversations."""

    path: str
    """The json or jsonl, relative to the root."""
    images: str = "."
    """The folder that its image paths are relative to, relative to the root."""
    task: TaskName | None = None
    """Task of the rows that neither a tag nor their own key tells."""


@dataclass(frozen=True)
class _Row:
    """One conversation, as small as it goes: releases have a million of them."""

    id: str
    paths: tuple[Path, ...]
    turns: tuple[tuple[str, str], ...]
    tasks: tuple[tuple[str, str], ...]  # (task, kind) of each turn
    asked: tuple[int, ...]  # turns that are samples; the others have a box outside of their picture
    meta: dict[str, Any]


class LlavaConversations(Reader):
    """One sample an answered turn of ``[{"id", "image", "conversations": [{"from": "human", "value"}, ...]}, ...]``.

    ``image`` is a path or a list of paths; earlier turns are ``Sample.history``; ``<image>`` and ``<video>`` are taken
    out of the texts, and the number of ``<image>`` in a conversation is that of its pictures or 0. Frames whose row has
    ``"metadata": [{"timestamp": "2017-05-03"}, ...]`` are put in the order of the dates, and the metadata with them.
    Further keys of a row go to ``Sample.meta``.

    A task is never guessed. It is, in this order: that of the tag which a question begins with (``tags``), that of the
    row's own ``task_key`` (``tasks``), that of the part. ``Sample.kind`` is the tag or the row's own task. Each may be
    a pair, for rows of one image and of several: ``[vqa, change_vqa]``.

    Args:
        files: parts of each split, each with the fields of `LlavaPart`.
        tags: tag -> task, "[refer]" -> "ground".
        task_key: key of a row that holds its task.
        tasks: value of that key -> task.
        image_keys: keys that may hold the images; a row has one of them.
        path_prefix: taken off the front of image paths that begin with it.
        boxes: convention that boxes of the answers are written in (`rsmoe.data.boxes`); None parses none.
        by_place: whether messages without a speaker alternate (a known defect of TEOChatlas's eval files).

    Attributes:
        unused: rows without an image, and turns that cannot be used, by reason; answers with boxes that are none of
            their picture (`PictureCheck`) -> file and row, picture, turn.

    With ``boxes``, ``Sample.meta`` has "box_convention" and "size_px", by which an answer is to be read, and
    "box_failures": boxes that cannot be read, and an answer of the task "ground" that has none. Of oriented boxes,
    ``boxes_px`` has the horizontal ones around them. A question that holds one box ("[identify] {<10><20><30><40>}")
    and is answered in words is about that region. A turn whose boxes can be read, but lie outside of the picture, is
    left out: it would teach what every answer is scored down for.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        files: Mapping[str, Sequence[Mapping[str, Any]]],
        tags: Mapping[str, TaskName] | None = None,
        task_key: str | None = None,
        tasks: Mapping[str, TaskName] | None = None,
        image_keys: Sequence[str] = ("image", "images"),
        path_prefix: str = "",
        boxes: str | None = None,
        by_place: bool = False,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        require_split(name, split, sorted(files))
        if boxes is not None:
            convention(boxes)
        super().__init__(name=name, split=split, official=official)
        self._boxes, self._keys, self._prefix = boxes, tuple(image_keys), path_prefix
        self._check = PictureCheck(
            self,
            space=repr(boxes),
            remedy="Set data.boxes to the convention that this release writes boxes in, or null to read none",
        )
        self._tasks = DeclaredTasks(tags=tags or {}, key=task_key, values=tasks or {})
        self._form = DialogueForm(by_place=by_place)
        parts = [_part(part, name) for part in files[split]]
        self._rows = [row for part in parts for row in self._read(folder, part)]
        self._index = [(i, turn) for i, row in enumerate(self._rows) for turn in row.asked]
        self._check.finish()
        if not self._index:
            lost = ", ".join(f"{len(rows)} {reason}" for reason, rows in self.unused.items()) or "nothing"
            raise UserError(f"{name}: no answered question in split {split!r}; left out: {lost}")
        self.counts = {
            "images": len({path for row in self._rows for path in row.paths}),
            "conversations": len(self._rows),
            "questions": len(self._index),
            **Counter(self._rows[i].tasks[turn][0] for i, turn in self._index),
        }

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Sample:
        i, turn = self._index[index]
        row = self._rows[i]
        (question, answer), history = row.turns[turn], row.turns[:turn]
        task, kind = row.tasks[turn]
        texts = [text for pair in (*history, (question, answer)) for text in pair]
        meta = dict(row.meta)
        regions: dict[str, Any] = {}
        if self._boxes is not None and (task == "ground" or holds_coordinates(answer)):
            size = seen_size(row.paths[0])
            parsed = parse(answer, convention=self._boxes, size_px=size)
            meta |= {"box_convention": self._boxes, "size_px": size}
            if len(parsed.boxes) and convention(self._boxes).oriented:
                upright = hbb_of_obb(parsed.boxes).clip(0, [*size, *size])
                regions = {"boxes_px": upright.astype(np.float32), "obb_px": parsed.boxes}
            elif len(parsed.boxes):
                regions = {"boxes_px": parsed.boxes}
            if parsed.failed:
                meta["box_failures"] = parsed.failed
        elif self._boxes is not None and holds_coordinates(question):
            regions = self._region(question, seen_size(row.paths[0]))
        return self._make(
            f"{row.id}:{turn}",
            row.paths,
            question,
            (answer,),
            task,
            kind=kind,
            history=history,
            directional=holds_coordinates(*texts),
            meta=meta,
            **regions,
        )

    def _region(self, question: str, size_px: tuple[int, int]) -> dict[str, Region]:
        """What a question with one box is about; the box stays in its words as it is."""
        assert self._boxes is not None
        asked = parse(question, convention=self._boxes, size_px=size_px)
        held = hold_boxes(asked.boxes, size_px)
        if len(held.kept) != 1 or asked.failed:
            return {}
        return {"region": Region.of(box_corners(held.boxes[0]), size_px=size_px)}

    def _read(self, folder: Path, part: LlavaPart) -> list[_Row]:
        """The conversations of one file."""
        found: list[tuple[int, str, dict[str, Any], list[str], Dialogue]] = []
        for number, (where, row) in enumerate(read_rows(folder / part.path)):
            names = self._images(row, where)
            if not names:
                self.leave_out("rows without an image", where)
                continue
            dialogue = read_dialogue(row, self._form, where)
            for reason in dialogue.unused:
                self.leave_out(reason, where)
            if dialogue.images not in (0, len(names)):
                raise UserError(f"{where}: {dialogue.images} times <image> for {len(names)} images {names[:3]}")
            if dialogue.turns:
                found.append((number, where, row, names, dialogue))
        wanted = [name for _, _, _, names, _ in found for name in names]
        paths = find_images(folder / part.images, wanted, source=self.name, flat=False)
        left = {*self._keys, self._form.messages, "id"}
        stem = Path(part.path).with_suffix("")
        rows: list[_Row] = []
        for number, where, row, names, dialogue in found:
            meta = {key: value for key, value in row.items() if key not in left}
            if "id" in row:
                meta["row_id"] = row["id"]
            order = _in_time(len(names), row.get("metadata"), where)
            if order is not None:
                names = [names[i] for i in order]
                meta["metadata"] = [row["metadata"][i] for i in order]
            pictures = tuple(paths[name] for name in names)
            tasks = tuple(
                self._tasks.of(question, row, images=len(names), file_task=part.task, where=where)
                for question, _ in dialogue.turns
            )
            asked = tuple(
                turn
                for turn, ((_, answer), (task, _)) in enumerate(zip(dialogue.turns, tasks, strict=True))
                if self._fits(answer, task, pictures[0], f"{where}, {names[0]}, turn {turn}")
            )
            rows.append(
                _Row(id=f"{stem}:{number}", paths=pictures, turns=dialogue.turns, tasks=tasks, asked=asked, meta=meta)
            )
        return rows

    def _fits(self, answer: str, task: str, picture: Path, place: str) -> bool:
        """Whether the boxes of an answer, if there are any, are boxes of the picture."""
        if self._boxes is None or not (task == "ground" or holds_coordinates(answer)):
            return True
        form = convention(self._boxes)
        size = None if form.scale and not form.padded else seen_size(picture)
        return self._check.words(answer, convention=self._boxes, size_px=size, place=place)

    def _images(self, row: dict[str, Any], where: str) -> list[str]:
        """Image paths of one row as written, less the prefix; none for a row of text alone."""
        given = [row[key] for key in self._keys if row.get(key) not in (None, "", [])]
        if len(given) > 1:
            raise UserError(
                f"{where}: images under more than one of the keys {', '.join(self._keys)}; declare image_keys"
            )
        names = given[0] if given else []
        names = [str(n) if type(n) is int else n for n in (names if isinstance(names, list) else [names])]
        if not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}: expected a path or a list of paths as images, found {str(names)[:60]!r}")
        return [name.removeprefix(self._prefix) for name in names]


def _part(fields: Mapping[str, Any], name: str) -> LlavaPart:
    try:
        part = LlavaPart(**fields)
    except TypeError as error:
        raise UserError(f"{name}: a part of files has path, images and task; found {dict(fields)}") from error
    if part.task is not None:
        check_task(part.task)
    return part


def _in_time(images: int, metadata: Any, where: str) -> list[int] | None:
    """The order of the frames by their dates; None where the row has no dates, and is in order as it is."""
    if not isinstance(metadata, list) or not any(isinstance(m, dict) and "timestamp" in m for m in metadata):
        return None
    try:
        if len(metadata) != images:
            raise ValueError(f"{len(metadata)} timestamps for {images} images")
        days = [datetime.strptime(str(m["timestamp"]), "%Y-%m-%d") for m in metadata]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: expected a timestamp 'YYYY-MM-DD' for each image: {error}") from error
    return sorted(range(images), key=days.__getitem__)
