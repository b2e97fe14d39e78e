"""Custom data: a jsonl or a CSV, one sample a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsmoe.data.boxes import convention as named
from rsmoe.data.boxes import hbb_of_obb, write
from rsmoe.data.files.file_names import FileTree
from rsmoe.data.files.values import id_of
from rsmoe.data.rasters.images import find_images
from rsmoe.data.rasters.mask_sources import FileMask
from rsmoe.data.rasters.raster_images import RasterImages
from rsmoe.data.readers.annotations import data_root, require_split
from rsmoe.data.readers.conversations import holds_coordinates
from rsmoe.data.readers.own_rows import (
    box_fields,
    boxes_of,
    file_of,
    kind_of,
    labels_of,
    read_table,
    row_splits,
    texts_of,
    value_of,
)
from rsmoe.data.readers.picture_check import PictureCheck, seen_size
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import task_names
from rsmoe.errors import UserError, unknown_name

COLUMNS = (
    ("id", "image", "images", "instruction", "answer", "responses", "task")
    + ("kind", "split", "mask", "boxes", "labels")
)  # fmt: skip
"""What a column may be called to be understood; every other one goes to `Sample.meta`."""

_SEVERAL = {"caption": "change_caption", "vqa": "change_vqa"}
_CHANGE_KINDS = ("changed", "unchanged")


class OwnTable(Reader):
    """Write ``train.jsonl`` (and ``val.jsonl``, ``test.jsonl``), one object a line, beside your pictures::

        {"image": "a.png", "instruction": "How many ships are there?", "answer": "two", "task": "vqa"}
        {"image": "a.png", "instruction": "Describe it.", "responses": ["Two ships.", "A port."], "task": "caption"}
        {"images": ["a.png", "b.png"], "instruction": "What changed?", "answer": "A pier.", "task": "change_caption"}
        {"image": "a.png", "instruction": "Mark the water.", "task": "mask", "mask": "water.png"}
        {"image": "a.png", "instruction": "Where?", "answer": "[2, 1, 9, 6]", "task": "ground", "boxes": [[2, 1, 9, 6]]}

    and type ``data=own_jsonl data.root=/path/to/it``. A CSV with the same columns is ``data=own_csv``: empty cells are
    left out, several images, responses or labels are separated by ``|``::

        image,instruction,responses,task,boxes,place
        a.png,Describe it.,Two ships.|A port.,caption,,Genoa
        a.png,Where?,"[2, 1, 9, 6]",ground,"[[2, 1, 9, 6]]",Genoa

    - ``image``, or ``images`` in the order of their dates: paths below the root.
    - ``answer``, or ``responses``, all of them right. May be left out with a mask, where it is "[SEG]", and with boxes
      to find, where it is their text under ``box_convention``.
    - ``task``: a yaml of ``conf/task``, or the keyword ``task`` for all rows without one.
    - ``mask``: a picture of one band, above 0 where it applies.
    - ``boxes``: in pixels of the first image, ``[x1, y1, x2, y2]`` each, or ``[cx, cy, w, h, angle_deg]`` (clockwise);
      or the path of a json file that holds that list. ``labels``: a name for each.
    - ``kind``: a finer type that numbers are given for. A change caption is "changed" unless it says "unchanged".
    - ``id`` (unique; default: file and line; 7 and "7" are one), ``split``; every further column goes to
      ``Sample.meta``.

    Texts may be numbers (3.0 is "3"); true, lists and objects are none. null, NaN (which pandas writes) and empty cells
    count as left out; "nan" in quotes, or in a cell, is a word.

    Args:
        table: a .jsonl or .csv, relative to ``root``. With "{split}" in it there is one a split; without, each row
            says its ``split``; where none does, a tenth of the pictures is "val" and a tenth "test", by their names.
        task: task of the rows without one; None requires it of each.
        instruction: instruction of the rows without one; None requires it of each.
        box_convention: how answers of the task "ground" write boxes, a name of `rsmoe.data.boxes.CONVENTIONS`; goes to
            ``Sample.meta``, with "size_px".
        raster: how TIFFs are read, see `RasterImages`: bands, stretch and so on; they keep their georeference.

    Attributes:
        unused: boxes, masks and answers that are none of their pictures (`PictureCheck`) -> row, picture, box. A row
            that asks for boxes, or for a mask, and is left without is not used; any other fault of a row is an error.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "own",
        table: str = "{split}.jsonl",
        task: str | None = None,
        instruction: str | None = None,
        box_convention: str | None = None,
        raster: Mapping[str, Any] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        if box_convention is not None:
            named(box_convention)
        self._convention, self._rasters = box_convention, RasterImages(raster)
        super().__init__(name=name, split=split, official=official)
        rows = read_table(folder / table.replace("{split}", split))
        if "{split}" not in table:
            splits = row_splits(rows)
            require_split(name, split, sorted(set(splits)))
            rows = [row for row, own in zip(rows, splits, strict=True) if own == split]
        if not rows:
            raise UserError(f"{folder / table.replace('{split}', split)} holds no row. Write one sample a row")
        wanted = [texts_of(row, "image", "images", where) for where, row in rows]
        paths = find_images(folder, [image for images in wanted for image in images], source=name, flat=False)
        defaults = {"task": task, "instruction": instruction}
        self._check = PictureCheck(
            self,
            remedy="Write boxes as x1 y1 x2 y2, or cx cy w h angle_deg, in pixels of the picture as a viewer shows it; "
            "is it x y width height, or parts of the sides?",
        )
        files = FileTree(folder, source=name, any_suffix=False)  # a mask may lie beside a picture of its stem
        found = (
            self._sample(files, where, row, tuple(paths[image] for image in images), defaults)
            for (where, row), images in zip(rows, wanted, strict=True)
        )
        self._samples = [sample for sample in found if sample is not None]
        self._check.finish()
        if not self._samples:
            left = "; ".join(f"{reason}: {', '.join(places[:3])}" for reason, places in self.unused.items())
            raise UserError(f"{name}: no row of split {split!r} can be used. {left}")
        repeated = [key for key, n in Counter(sample.id for sample in self._samples).items() if n > 1]
        if repeated:
            raise UserError(f"{name}: {len(repeated)} ids occur more than once: {', '.join(repeated[:5])}")
        tasks = Counter(sample.task for sample in self._samples)
        self.counts = {"images": len(paths), "samples": len(self._samples), **tasks}

    def __getitem__(self, index: int) -> Sample:
        return self._rasters(self._samples[index])

    def _sample(
        self,
        files: FileTree,
        where: str,
        row: dict[str, Any],
        images: tuple[Path, ...],
        defaults: Mapping[str, Any],
    ) -> Sample | None:
        """The sample of a row; None where nothing true is left of it."""
        task = value_of(row, "task", where, default=defaults["task"])
        _check_task(task, len(images), where)
        instruction = value_of(row, "instruction", where, default=defaults["instruction"])
        mask = value_of(row, "mask", where) if task == "mask" or "mask" in row else None
        boxes = boxes_of(row.get("boxes"), where, files)
        meta = {key: value for key, value in row.items() if key not in COLUMNS}
        labels = labels_of(row, boxes, where)
        target = None if mask is None else file_of(mask, files)
        if target is not None and not self._check.same_size((images[0], target), where):
            return None
        if boxes is not None:
            held = self._check.boxes(
                boxes, seen_size(images[0]), [f"{where}, {images[0].name}, box {i + 1}" for i in range(len(boxes))]
            )
            if task == "ground" and not len(held.kept):
                return None
            labels = tuple(labels[i] for i in held.kept if labels)
            boxes = held.boxes if len(held.kept) else None
        if task == "ground" and self._convention is not None:
            meta |= {"box_convention": self._convention, "size_px": seen_size(images[0])}
        bare = row.get("answer") is None and row.get("responses") is None
        if bare and task == "mask":
            responses = ["[SEG]"]
        elif bare and boxes is not None and "box_convention" in meta:
            upright = boxes.shape[1] == 5 and not named(meta["box_convention"]).oriented
            shown = hbb_of_obb(boxes) if upright else boxes
            responses = [write(shown, convention=meta["box_convention"], size_px=meta["size_px"])]
        else:
            responses = texts_of(row, "answer", "responses", where)
        if task == "mask" and not all("[SEG]" in text for text in responses):
            raise UserError(f"{where}: the answer of a mask has to hold [SEG], or be left out; found {responses[0]!r}")
        if boxes is not None and "box_convention" in meta and not bare:
            said = [
                self._check.words(
                    text, convention=self._convention or "", size_px=meta["size_px"], place=f"{where}, {images[0].name}"
                )
                for text in responses
            ]
            if not all(said):
                return None
        kind = kind_of(row, where) or ("changed" if task == "change_caption" else "")
        if task == "change_caption" and kind not in _CHANGE_KINDS:
            raise UserError(f"{where}: {unknown_name('kind of a change caption', kind, _CHANGE_KINDS)}")
        return self._make(
            id_of(row.get("id", where), f"{where}: 'id'"),
            images,
            instruction,
            tuple(responses),
            task,
            kind=kind,
            mask=None if target is None else FileMask(target, image=images[0]),
            labels=labels,
            directional=task == "ground" or holds_coordinates(instruction, *responses),
            meta=meta,
            **box_fields(boxes),
        )


def _check_task(task: str, images: int, where: str) -> None:
    if task not in task_names():
        raise UserError(f"{where}: {unknown_name('task', task, task_names())}")
    if task in _SEVERAL.values() and images < 2:
        raise UserError(f"{where}: the task {task!r} needs two or more images; found one")
    if task in _SEVERAL and images > 1:
        raise UserError(f"{where}: {images} images; call the task {_SEVERAL[task]!r}, for {task!r} is about one")
