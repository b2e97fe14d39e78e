"""GeoPixInstruct: instances of SAMRS with descriptions, boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.boxes import convention
from rsmoe.data.files.json_text import read_jsonl
from rsmoe.data.files.text_files import stripped
from rsmoe.data.rasters.images import find_images
from rsmoe.data.rasters.mask_sources import UnionMask
from rsmoe.data.readers.annotations import data_root, field, identity, numbers, require_split
from rsmoe.data.readers.picture_check import PictureCheck, seen_size
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError, require_known

TARGETS = ("instance", "image")
"""Whether a sample asks for one instance, or for all described instances of an image in one answer."""

_SPLITS = {"train": "train", "val": "valid"}


@dataclass(frozen=True)
class _Instance:
    """A described object: where it was read, its names and its mask."""

    id: str
    category: str
    description: str
    mask: Lazy
    box_px: np.ndarray | None


class GeoPixInstruct(Reader):
    """One json object a line, an image each: ``{"image_id", "image_path", "instances": [...]}``.

    An instance is ``{"instance_id", "category", "category_id", "description", "bbox": [4 ints], "mask": {"counts",
    "size": [H, W]}}``, the mask in COCO's run-length code. Parts are named by the source of
    their pictures in SAMRS.

    The release is parquet files of annotations only. Write each of its splits as a file of lines, with the package that
    downloads it::

        from datasets import load_dataset
        for name, part in load_dataset("Norman-ou/GeoPixInstruct-Anno").items():
            part.to_json(f"{name}.jsonl")  # train.SIOR_T.jsonl ...

    and put the images of SAMRS (https://github.com/ViTAE-Transformer/SAMRS) where ``images`` says; they are matched by
    the stem of ``image_path``. The release does not say whether a box is two corners or a corner and a size: it is
    used once ``boxes`` says it.

    Args:
        split: "train" or "val" (the release's "valid").
        parts: any of SIOR, FAST, SOTA.
        annotations: the file of a part, relative to ``root``, with ``{split}`` and ``{part}`` to fill in.
        images: the folder of a part's images, likewise.
        targets: one of `TARGETS`. With "image", all instances of an image are asked for at once, each with a
            [SEG] and a mask.
        boxes: the convention of ``bbox``, a name of `rsmoe.data.boxes.CONVENTIONS` (pixel_xyxy, pixel_xywh ...), or
            None to leave boxes out.

    Attributes:
        unused: instances without a description, which cannot be asked for; masks and boxes that are none of their
            pictures (`PictureCheck`) -> file, instance, picture. An instance without a mask is not asked for.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "geopix_instruct",
        parts: Sequence[str] = ("SIOR", "FAST", "SOTA"),
        annotations: str = "{split}.{part}_T.jsonl",
        images: str = "{part}/images",
        targets: str = "instance",
        boxes: str | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_known(f"targets of {name}", targets, known=TARGETS)
        folder = data_root(root, name)
        require_split(name, split, sorted(_SPLITS))
        super().__init__(name=name, split=split, official=official)
        self.counts = {"images": 0, "instances": 0, "requests": 0}
        self._rows: list[tuple[Path, list[_Instance]]] = []
        if boxes is not None and convention(boxes).oriented:
            raise UserError(f"{name}: its boxes are four numbers, and {boxes!r} is of oriented ones")
        self._check = PictureCheck(
            self,
            space=repr(boxes),
            remedy="Set data.boxes to how this release writes boxes: pixel_xyxy or pixel_xywh",
            declared=True,
        )
        require_known(f"part of {name}", *parts, known=("SIOR", "FAST", "SOTA"))
        for part in parts:
            place = {"split": _SPLITS[split], "part": part}
            rows = read_jsonl(folder / annotations.format(**place))
            files = [identity(row, "image_path", where) for where, row in rows]
            paths = find_images(folder / images.format(**place), files, source=name)
            for (where, row), file in zip(rows, files, strict=True):
                self._read(row, where, part, paths[file], boxes)
        self._check.finish()
        if targets == "instance":
            self._rows = [(image, [one]) for image, instances in self._rows for one in instances]
        if not self._rows:
            raise UserError(f"{name}: split {split!r} of {', '.join(parts) or '(no part)'} holds no described instance")
        self.counts["requests"] = len(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        image, instances = self._rows[index]
        first = instances[0]
        if len(instances) == 1:
            request, answer = f"Segment this: {first.description}", f"the {first.category} is here [SEG]"
        else:
            listed = "; ".join(f"({i}) {one.description.rstrip('.; ')}" for i, one in enumerate(instances, start=1))
            request = f"Segment all of these: {listed}."
            answer = f"these {len(instances)} are here: {', '.join(f'{one.category} [SEG]' for one in instances)}"
        boxes = [one.box_px for one in instances if one.box_px is not None]
        masks = tuple(one.mask for one in instances)
        return self._make(
            first.id if len(instances) == 1 else f"{first.id}+{len(instances) - 1}",
            (image,),
            request,
            (answer,),
            "mask",
            kind=first.category if len(instances) == 1 else "several",
            mask=first.mask if len(masks) == 1 else UnionMask(masks),
            masks=masks if len(masks) > 1 else (),
            boxes_px=np.stack(boxes) if boxes else None,
            labels=tuple(one.category for one in instances if one.box_px is not None),
        )

    def _read(self, row: Any, where: str, part: str, image: Path, boxes: str | None) -> None:
        image_id = identity(row, "image_id", where)
        kept = []
        for i, one in enumerate(field(row, "instances", list, where)):
            place = f"{where}, instances[{i}]"
            key = f"{part}/{image_id}:{identity(one, 'instance_id', place)}"
            description = stripped(field(one, "description", str, place))
            self.counts["instances"] += 1
            if not description:
                self.leave_out("no description", key)
                continue
            code = field(one, "mask", dict, place)
            for half in ("counts", "size"):
                field(code, half, object, f"{place}.mask")
            size = seen_size(image)
            source = self._check.mask(code, size, image, f"{place}, {image.name}")
            if source is None:
                continue
            box = None
            if boxes is not None:
                corners = numbers(one, "bbox", 4, place)
                held = self._check.boxes(
                    convention(boxes).to_px(np.array([corners]), size),
                    size,
                    [f"{image.name}, {place}"],
                    written=[corners],
                )
                box = held.boxes[0] if len(held.kept) else None
            kept.append(_Instance(key, field(one, "category", str, place), description, source, box))
        self.counts["images"] += 1
        if kept:
            self._rows.append((image, kept))
