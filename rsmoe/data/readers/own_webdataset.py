"""Custom image-text data: webdataset shards, a picture and its text a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsmoe.data.boxes import hold_boxes
from rsmoe.data.files.byte_ranges import read_range
from rsmoe.data.files.json_text import parse_json
from rsmoe.data.files.tar_index import index_tars, tars_in
from rsmoe.data.files.text_files import decode, lines_of, stripped
from rsmoe.data.files.values import present
from rsmoe.data.rasters.images import picture_size
from rsmoe.data.readers.annotations import data_root
from rsmoe.data.readers.conversations import holds_coordinates
from rsmoe.data.readers.own_rows import box_fields, boxes_of, kind_of, labels_of, texts_of, value_of
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.data.shards.member import ShardMember
from rsmoe.data.tasks import find_task, task_names
from rsmoe.errors import UserError, require_known, unknown_name

_COLUMNS = ("instruction", "answer", "responses", "task", "kind", "boxes", "labels")


class OwnWebdataset(Reader):
    """Tar files with two members a sample, of one name and next to one another::

        train/000.tar:  port.jpg  port.txt   ice.jpg  ice.txt  ...

    and type ``data=own_webdataset data.root=/path/to/it``. Every line of a ``txt`` is a caption, all of them right.
    With ``data.text=json`` the text is an object instead::

        {"instruction": "How many ships are there?", "answer": "two", "task": "vqa", "place": "Genoa"}

    with ``answer`` or ``responses``, ``instruction``, ``task``, ``kind``, ``boxes`` and ``labels`` as `OwnTable` has
    them; every other key goes to ``Sample.meta``. One picture a sample; several dates and masks need a jsonl. Samples
    are read by their place in the file; nothing is unpacked and no pickle is loaded. To stream them, shard them with
    ``python -m rsmoe.commands.shard``.

    Args:
        split: fills "{split}" in ``shards``.
        shards: pattern of the tar files, relative to ``root``, not compressed.
        image: extension of the pictures.
        text: "txt", or "json".
        answer: the json key that is taken for "answer": "caption" in what img2dataset writes.
        task, instruction: of samples that do not say; None requires it of each.
        index: folder that keeps the places of all samples, see `index_tar`; None reads the headers every time.

    Attributes:
        unused: "empty text" -> ids.

    Raises:
        UserError: by `__getitem__`, for a text that is not of this form or none of whose boxes lies on its picture.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "own_webdataset",
        shards: str = "{split}/*.tar",
        image: str = "jpg",
        text: str = "txt",
        answer: str = "answer",
        task: str | None = "caption",
        instruction: str | None = "Describe this image in one sentence.",
        index: str | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        require_known("text of a webdataset", text, known=("txt", "json"))
        pattern = shards.replace("{split}", split)
        self._paths = tars_in(folder, pattern)
        if not self._paths:
            raise UserError(f"{name}: no file is {folder / pattern}. Give the pattern, data.shards=... with {{split}}")
        self._answer, self._defaults = answer, {"task": task, "instruction": instruction}
        self._json = text == "json"
        cache = None if index is None else folder / index
        self._shard, self._row, self._places = index_tars(self._paths, (image, text), cache=cache)
        empty = self._places[:, 1, 1] == 0
        self.unused = {"empty text": [self._id(int(i)) for i in np.flatnonzero(empty)]} if empty.any() else {}
        self._shard, self._row, self._places = self._shard[~empty], self._row[~empty], self._places[~empty]
        if not len(self):
            raise UserError(f"{name}: {folder / pattern} holds no sample with {image} and {text}")
        self.counts = {"shards": len(self._paths), "samples": len(self)}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        path, where = self._paths[self._shard[index]], self._id(index)
        (start, size), place = self._places[index].tolist()
        text = stripped(decode(read_range(str(path), *place), f"{where}: its text"))
        row = (
            parse_json(text, f"{where}: its text") if self._json else {"responses": list(filter(None, lines_of(text)))}
        )
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected an object, found {type(row).__name__}")
        picture = ShardMember(shard=str(path), offset=start, size=size, name=where)
        return self._sample(present(row), where, picture)

    def _sample(self, row: dict[str, Any], where: str, image: ShardMember) -> Sample:
        if self._answer != "answer":
            row = {"answer" if key == self._answer else key: value for key, value in row.items() if key != "answer"}
        task = value_of(row, "task", where, default=self._defaults["task"])
        known = [name for name in task_names() if find_task(name).dates != "two" and find_task(name).answer != "mask"]
        if task not in known:
            raise UserError(f"{where}: {unknown_name('task on one picture', task, known)}")
        instruction = value_of(row, "instruction", where, default=self._defaults["instruction"])
        responses = texts_of(row, "answer", "responses", where)
        boxes = row.get("boxes")
        if boxes is not None and not isinstance(boxes, list):
            raise UserError(f"{where}: expected boxes as a list, found {str(boxes)[:40]!r}")
        boxes = boxes_of(boxes, where)
        labels = labels_of(row, boxes, where)
        if boxes is not None:
            size = picture_size(image)
            held = hold_boxes(boxes, size)
            if not len(held.kept):
                raise UserError(
                    f"{where}: none of its boxes is a box on a picture of {size[0]} x {size[1]} pixels, the first: "
                    f"{boxes[0].tolist()} ({held.reasons[0]}). Write x1 y1 x2 y2, or cx cy w h angle_deg, in pixels"
                )
            boxes, labels = held.boxes, tuple(labels[i] for i in held.kept if labels)
        return self._make(
            where,
            (image,),
            instruction,
            tuple(responses),
            task,
            kind=kind_of(row, where),
            labels=labels,
            directional=task == "ground" or holds_coordinates(instruction, *responses),
            meta={key: value for key, value in row.items() if key not in _COLUMNS},
            **box_fields(boxes),
        )

    def _id(self, index: int) -> str:
        path = self._paths[self._shard[index]]
        return f"{path.stem}:{self._row[index]}"
