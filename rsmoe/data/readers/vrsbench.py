"""VRSBench: captions, referring expressions and questions on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rsmoe.checks.ranges import Fraction
from rsmoe.data.boxes import convention as named
from rsmoe.data.boxes import hold_boxes, parse
from rsmoe.data.files.file_names import listed
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, require_split
from rsmoe.data.readers.picture_check import PictureCheck, seen_size
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.splits import held_out, require_fractions
from rsmoe.data.readers.vrsbench_rows import VRSBenchRow, evaluation_rows, image_rows
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError, require_known

_COUNTED = {"caption": "captions", "ground": "expressions", "vqa": "questions"}

_PLACE_KINDS = ("object position", "object direction")
"""Kinds whose answer is a side or a direction even when no word of `is_directional` is in it."""


class VRSBench(Reader):
    """One sample a caption, referring expression ("ground") or question ("vqa").

    The official test part is called "val" in file names.

    - "train": ``Annotations_train/<image>.json``, ``{"caption", "objects": [{"obj_cls", "obj_coord", "obj_corner",
      "referring_sentence", "is_unique"}], "qa_pairs": [{"question", "answer", "type"}]}``. These have exact boxes;
      VRSBench_train.json, not read here, rounds them to percent.
    - "val": ``val_fraction`` of these, see `held_out`; the release has no validation part. Cuts of one DOTA or DIOR
      picture stay on one side.
    - "test": VRSBench_EVAL_Cap.json, _referring.json and _vqa.json, ``[{"image_id", "question", "ground_truth",
      "obj_corner", "obj_cls", "unique", "size_group", "type"}]``. The box is ``ground_truth``, in whole percent, which
      published numbers are measured with; 13 of them have no area, so that nothing can hit them. They are kept.

    A "ground" sample has one horizontal box, and the oriented one of ``obj_corner``; ``Sample.kind`` is the class of
    its object. ``Sample.kind`` of a question is its type, "object quantity" and eleven more. Test images overlap with
    what DIOR-RSVG and GeoChat_Instruct train on.

    Files and keys are as its repository and public readers have them.

    Args:
        tasks: of "caption", "ground" and "vqa".
        annotations: the folder of json files of "train" and "val", relative to ``root``.
        images: their folder of images.
        test_annotations: task -> json of "test".
        test_images: their folder of images.
        val_fraction: share of the training images that "val" gets; 0 trains on all.
        convention: how boxes are answered, see `rsmoe.data.boxes`; a horizontal one.
        request: the instruction of captions.
        prompt: the instruction of expressions; {expression} is replaced.

    Attributes:
        unused: "object without a sentence", "empty question", "empty answer" -> ids; boxes that are none of their
            pictures (`PictureCheck`) -> file, picture, object.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "vrsbench",
        tasks: Sequence[str] = ("caption", "ground", "vqa"),
        annotations: str = "Annotations_train",
        images: str = "Images_train",
        test_annotations: Mapping[str, str],
        test_images: str = "Images_val",
        val_fraction: Fraction = 0.05,
        convention: str = "vrsbench",
        request: str = "Describe the image in detail.",
        prompt: str = "Where is this: {expression}?",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_fractions(name, val_fraction=val_fraction)
        require_known(f"task of {name}", *tasks, known=_COUNTED)
        if named(convention).oriented:
            raise UserError(f"{name}: convention={convention!r} writes oriented boxes; expected a horizontal one")
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self.convention, self.request, self.prompt = convention, request, prompt
        require_split(name, split, ["train", "val", "test"] if val_fraction else ["train", "test"])
        wanted = tuple(task for task in _COUNTED if task in tasks)
        self._rows: list[VRSBenchRow] = []
        check = PictureCheck(
            self,
            space="parts of the sides",
            remedy="Boxes of VRSBench are parts of the sides (obj_coord) or whole percent: download them again",
        )
        if split == "test":
            if missing := set(wanted) - set(test_annotations):
                raise UserError(f"{name}: test_annotations names no file for {', '.join(sorted(missing))}")
            for task in wanted:
                self._rows += evaluation_rows(folder / test_annotations[task], task, check)
        else:
            if not (folder / annotations).is_dir():
                raise UserError(f"{name}: no folder {folder / annotations}. Unpack Annotations_train.zip there")
            files = {path.stem: path for path in listed(folder / annotations, ".json")}
            held = held_out(files, val_fraction, group=lambda key: key.split("_")[0])
            for key, path in files.items():
                if (key in held) == (split == "val"):
                    self._rows += image_rows(path, wanted, check)
        check.finish()
        if not self._rows:
            raise UserError(f"{name}: split {split!r} holds nothing for the tasks: {', '.join(tasks) or '(none)'}")
        pictures = folder / (test_images if split == "test" else images)
        self._paths = find_images(pictures, [row.file for row in self._rows], source=name)
        self.counts = {"images": len(self._paths)}
        self.counts |= {_COUNTED[task]: sum(row.task == task for row in self._rows) for task in wanted}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        row = self._rows[index]
        if row.task == "ground":
            return self._ground(row)
        return self._make(
            row.id,
            (self._paths[row.file],),
            row.question or self.request,
            (row.answer,),
            row.task,
            kind=row.kind,
            directional=row.kind in _PLACE_KINDS,
            meta=row.meta,
        )

    def _ground(self, row: VRSBenchRow) -> Sample:
        path = self._paths[row.file]
        size = seen_size(path)
        if row.coord:
            box = named("vrsbench_coord").to_px(np.asarray([row.coord]), size)
        else:
            box = parse(row.answer, convention="vrsbench", size_px=size).boxes
        sample = self._make_ground(
            row.id,
            path,
            size,
            self.prompt.format(expression=row.question),
            box,
            convention=self.convention,
            kind=row.kind,
            labels=(row.kind,),
            meta=row.meta,
        )
        oriented = hold_boxes(named("vrsbench_corner").to_px(np.asarray([row.corners]), size), size)
        return replace(sample, obb_px=oriented.boxes if len(oriented.kept) else None)
