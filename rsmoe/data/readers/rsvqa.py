"""RSVQA, low and high resolution: questions made from OpenStreetMap, as three lists joined by ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.data.files.text_files import stripped
from rsmoe.data.files.values import shown
from rsmoe.data.rasters.images import find_images
from rsmoe.data.rasters.raster_images import RasterImages
from rsmoe.data.readers.annotations import data_root, field, read_json, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError

_METRES = re.compile(r"\s*([\d.]+)\s*m\s*")


class RSVQA(Reader):
    """One sample a question, from ``<part>_images.json``, ``<part>_questions.json`` and ``<part>_answers.json``.

    An image is ``{"id", "active", "sensor", "res_x", ...}``, its file ``<id>.tif``; a question ``{"id", "active",
    "img_id", "type", "question", "answers_ids"}``; an answer ``{"id", "active", "answer"}``. Rows with ``"active":
    false`` are stubs without anything else (the lists of one split name the images of the others so): they are left
    out. The images of LR are GeoTIFFs and have a georeference. ``Sample.kind`` is the type: "presence", "comp",
    "count", "area", "rural_urban". Answers are as written; published tables bin counts and areas (0, 1 to 10, 11 to
    100, 101 to 1000, more), which is the metric's business, and their "average accuracy" is the plain mean over types.

    Args:
        splits: parts of each split, a part being what the names of its three files begin with.

    Attributes:
        unused: ids, as ``<part>:<id>``, of inactive images, inactive questions, questions of inactive images and
            questions without an active answer.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        splits: Mapping[str, Sequence[str]],
        images: str,
        kinds: Sequence[str] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        require_split(name, split, sorted(splits))
        super().__init__(name=name, split=split, official=official)
        self._rasters = RasterImages()
        self._meta: dict[tuple[str, int], dict[str, Any]] = {}
        self._rows: list[tuple[str, int, int, str, tuple[str, ...], str]] = []
        for part in splits[split]:
            self._read(folder, part, kinds)
        if not self._rows:
            raise UserError(
                f"{name}: no active question{'' if kinds is None else f' of type {list(kinds)}'} in split {split!r}"
            )
        ids = {image for _, _, image, _, _, _ in self._rows}
        files = find_images(folder / images, [f"{image}.tif" for image in sorted(ids)], source=name)
        self._paths = {image: files[f"{image}.tif"] for image in ids}
        self.counts = {"images": len(ids), "questions": len(self._rows), **Counter(row[5] for row in self._rows)}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        part, question, image, text, answers, kind = self._rows[index]
        sample = self._make(
            f"{part}:{question}",
            (self._paths[image],),
            text,
            answers,
            "vqa",
            kind=kind,
            meta={"part": part, "image_id": image, **self._meta[part, image]},
        )
        return self._rasters(sample)

    def _read(self, folder: Path, part: str, kinds: Sequence[str] | None) -> None:
        """Joins the three lists of one part."""
        images, no_images = self._active(folder, part, "images")
        questions, _ = self._active(folder, part, "questions")
        answers, no_answers = self._active(folder, part, "answers")
        lost: list[str] = []
        said: dict[str, str] = {}  # a handful of answers stand for a million: each is kept once
        for key, row in questions.items():
            where = f"{part}_questions.json, question {key}"
            image, kind = field(row, "img_id", int, where), field(row, "type", str, where)
            wanted = field(row, "answers_ids", list, where)
            if not all(type(i) is int for i in wanted):
                raise UserError(f"{where}: 'answers_ids' should be whole numbers, found {shown(wanted)}")
            if image not in images and image not in no_images:
                lost.append(f"question {key} -> image {image}")
                continue
            if any(i not in answers and i not in no_answers for i in wanted):
                lost.append(f"question {key} -> answers {wanted}")
                continue
            if image not in images:
                self.leave_out("questions of inactive images", f"{part}:{key}")
                continue
            texts = [
                stripped(field(answers[i], "answer", str, f"{part}_answers.json, answer {i}"))
                for i in wanted
                if i in answers
            ]
            replies = tuple(said.setdefault(text, text) for text in texts if text)
            if not replies:
                self.leave_out("questions without an active answer", f"{part}:{key}")
            elif kinds is None or kind in kinds:
                text = stripped(field(row, "question", str, where))
                self._rows.append((part, key, image, text, replies, said.setdefault(kind, kind)))
                self._meta[part, image] = _facts(images[image])
        if lost:
            raise UserError(
                f"{self.name}: {len(lost)} ids of {part} lead nowhere: {'; '.join(lost[:5])}. "
                f"Download {part}_images.json, {part}_questions.json and {part}_answers.json again, from one release"
            )

    def _active(self, folder: Path, part: str, what: str) -> tuple[dict[int, dict[str, Any]], set[int]]:
        """The active rows of one list by id, and the ids of the others, which are noted as unused."""
        file = f"{part}_{what}.json"
        rows: dict[int, dict[str, Any]] = {}
        idle: list[int] = []
        for i, row in enumerate(field(read_json(folder / file), what, list, file)):
            where = f"{file}, {what}[{i}]"
            key = field(row, "id", int, where)
            if field(row, "active", bool, where):
                rows[key] = row
            else:
                idle.append(key)
        self.leave_out(f"inactive {what}", *(f"{part}:{key}" for key in idle))
        return rows, set(idle)


def _facts(image: dict[str, Any]) -> dict[str, Any]:
    """Sensor and ground sampling distance, as far as the row of an image says them."""
    metres = _METRES.fullmatch(str(image.get("res_x", "")))
    facts: dict[str, Any] = {"gsd_m": float(metres[1])} if metres else {}
    return facts | ({"sensor": image["sensor"]} if image.get("sensor") else {})
