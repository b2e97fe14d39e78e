"""RSIEval: the descriptions and questions that models trained on RSICap are measured with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rsmoe.data.files.text_files import stripped
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, identity, read_json, require_split
from rsmoe.data.readers.class_maps import maps_beside
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError, require_known

_PLACE_KINDS = ("ab_position", "re_position", "road_ori")
"""Kinds whose answer is a side or a direction even when no word of `is_directional` is in it."""


class RSIEval(Reader):
    """``{"annotations": [{"filename", "caption", "qa_pairs": [{"question", "answer", "type"}]}]}``.

    ``Sample.kind`` of a question is its type: presence, quantity, color, ab_position, re_position, area_comp, road_ori,
    image, scene, reasoning. Answers are free text of uneven form ("Yes.", "yes", "There are seven planes in the
    image."): scoring has to normalise. Pairs with an empty question or answer can be neither asked nor scored; they are
    left out and counted, as in RSGPT's own test script, which the request for a description is from. Further keys of a
    row go to ``Sample.meta``.

    Args:
        split: must be ``holds``.
        class_maps: a folder of class maps, relative to ``root``, for ``Sample.class_map``, see `maps_beside`; the
            release has none.
        tasks: "caption", "vqa" or both.
        request: the instruction of the caption samples.
        holds: the split that this folder is. The public release is all "test"; one written in its format to train on
            says so here.
        protocol: prefix of the numbers measured on it: "" for the release, "generated/" for generated scenes.

    Attributes:
        unused: "empty question" and "empty answer" -> ids, see `Sample.id`.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str = "test",
        name: str = "rsieval",
        annotations: str = "annotations.json",
        images: str = "images",
        class_maps: str | None = None,
        tasks: Sequence[str] = ("caption", "vqa"),
        request: str = "Please provide a detailed description of the picture.",
        holds: str = "test",
        protocol: str = "",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_known(f"task of {name}", *tasks, known=("caption", "vqa"))
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self.protocol = protocol
        require_split(name, split, [holds])
        rows = field(read_json(folder / annotations), "annotations", list, annotations)
        places = [f"{annotations}, annotations[{i}]" for i in range(len(rows))]
        files = [identity(row, "filename", place) for row, place in zip(rows, places, strict=True)]
        paths = find_images(folder / images, files, source=name)
        maps = maps_beside(folder / class_maps if class_maps else None, paths, source=name)
        self.counts = {"images": len(paths), "captions": 0, "questions": 0, "empty_questions": 0, "empty_answers": 0}
        for i, (row, file, place) in enumerate(zip(rows, files, places, strict=True)):
            meta = {key: value for key, value in row.items() if key not in ("filename", "caption", "qa_pairs")}
            picture = (paths[file],)
            shared: dict[str, Any] = {"meta": meta, **maps[file]}
            if "caption" in tasks:
                caption = stripped(field(row, "caption", str, place))
                if not caption:
                    raise UserError(f"{place}: the caption is empty")
                self.counts["captions"] += 1
                self._add(f"{i}:{file}", picture, request, (caption,), "caption", **shared)
            if "vqa" in tasks:
                for j, pair in enumerate(field(row, "qa_pairs", list, place)):
                    question, answer, kind = (
                        stripped(field(pair, key, str, f"{place}.qa_pairs[{j}]"))
                        for key in ("question", "answer", "type")
                    )
                    if not question or not answer:
                        part = "answer" if question else "question"
                        self.counts[f"empty_{part}s"] += 1
                        self.leave_out(f"empty {part}", f"{i}:{file}:{j}")
                        continue
                    self.counts["questions"] += 1
                    key, directional = f"{i}:{file}:{j}", kind in _PLACE_KINDS
                    self._add(key, picture, question, (answer,), "vqa", kind=kind, directional=directional, **shared)
        if not self._samples:
            raise UserError(f"{folder / annotations} holds nothing for the tasks: {', '.join(tasks) or '(none)'}")
