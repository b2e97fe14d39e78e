"""Instance annotations in COCO's json: boxes, masks and counts of every class of a picture."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.checks.ranges import Fraction, NonNegative, Positive
from rsmoe.data.boxes import convention as named
from rsmoe.data.boxes.held import UNKNOWN_PLACE
from rsmoe.data.files.file_names import stem
from rsmoe.data.files.values import is_missing, is_number, shown, text_of
from rsmoe.data.rasters.images import find_images
from rsmoe.data.rasters.mask_sources import RLEMask, UnionMask
from rsmoe.data.readers.annotations import data_root, field, identity, read_json, rows_by_id
from rsmoe.data.readers.picture_check import PictureCheck, seen_size
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.splits import held_out, require_fractions
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError, require_known

_HUGE = 1e9
"""No coordinate is so large, and beyond it a whole number may be too large for a float."""

PROMPTS = {
    "ground": "Locate every {name}.",
    "mask": "Segment every {name}.",
    "vqa": "How many instances of {name} are in the picture?",
}
"""Task -> request; the words are ours, for the format has none."""


class COCOInstances(Reader):
    """One sample a picture, class and task: all boxes ("ground"), all masks ("mask"), or their number ("vqa").

    ``{"images": [{"id", "file_name", "width", "height"}], "categories": [{"id", "name"}], "annotations": [{"id",
    "image_id", "category_id", "bbox": [x, y, w, h] in pixels, "segmentation", "iscrowd"}]}``. A segmentation is a list
    of polygons or a run-length code; a sample has the mask and the box of each instance, and the union. Only classes
    that are in a picture are asked for, and for masks those of ``absent``. Crowds ("iscrowd": 1) are one region
    of many objects: a class with a crowd is not counted and not located in that picture, its mask holds the crowd. Nor
    is one with a box that nobody can read, or none; one with a broken segmentation has no mask. Boxes are clipped to
    the picture and left out where nothing is left (`rsmoe.data.boxes.hold_boxes`); a picture of another size than
    stated is not used, and one without a stated size has its own.

    Args:
        split: a key of ``annotations``, or "val" / "test" where a fraction makes one.
        annotations: split -> json, relative to ``root``.
        tasks: of "ground", "mask", "vqa".
        prompts: task -> request with {name}, where it is not that of `PROMPTS`.
        absent: so many classes that are not in a picture are asked for too, by empty masks: a model that has never been
            asked in vain marks something everywhere. The same ones every time, others for every picture.
        max_boxes: a class with more instances in a picture is not located; None asks for all.
        val_fraction: share of the pictures of "train" that becomes "val", by `held_out`; 0 where the release has one.
        test_fraction: the same for "test".

    Attributes:
        unused: "crowd", "more than <max_boxes> boxes" -> ids; "no instance" -> files; what `PictureCheck` leaves out,
            annotations of an unknown image or category, and those that are there twice -> file, picture, annotation.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        annotations: Mapping[str, str],
        images: str,
        tasks: Sequence[str] = ("ground", "mask", "vqa"),
        convention: str = "minigpt",
        prompts: Mapping[str, str] | None = None,
        absent: NonNegative = 0,
        max_boxes: Positive | None = None,
        val_fraction: Fraction = 0.0,
        test_fraction: Fraction = 0.0,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_fractions(name, val_fraction=val_fraction, test_fraction=test_fraction)
        self._prompts = PROMPTS | dict(prompts or {})
        require_known("task", *tasks, *self._prompts, known=PROMPTS)
        made = {"val": val_fraction, "test": test_fraction} if "train" in annotations else {}
        require_known(f"split of {name}", split, known={*annotations, *(key for key, share in made.items() if share)})
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self._convention, self._max_boxes = convention, max_boxes
        file = annotations["train" if split not in annotations and "train" in annotations else split]
        content = read_json(folder / file)
        pictures, categories = (rows_by_id(content, key, file) for key in ("images", "categories"))
        names = {key: identity(row, "name", f"{file}, category {key}") for key, row in categories.items()}
        files = {key: identity(row, "file_name", f"{file}, image {key}") for key, row in pictures.items()}
        chosen = set(files.values())
        if file == annotations.get("train"):
            test, both = held_out(chosen, test_fraction), held_out(chosen, val_fraction + test_fraction)
            chosen = {"train": chosen - both, "val": both - test, "test": test}[split]
        self._file = Path(file).name
        self._check = PictureCheck(self, remedy="Boxes of COCO are x y width height in pixels")
        grouped = self._group(field(content, "annotations", list, file), files, names, chosen)
        paths = find_images(folder / images, chosen, source=name)
        self.counts: dict[str, int] = {"images": len(paths), "boxes": 0}
        stems = Counter(stem(picture) for picture in chosen)
        done = set[str]()
        for key, picture in pictures.items():
            of = files[key]
            if of not in chosen or of in done:
                continue
            done.add(of)
            if not grouped[of]:
                self.leave_out("no instance", of)
            stated = _stated(picture, f"{file}, image {key}")
            if stated is not None and not self._check.picture(paths[of], stated, f"{self._file}, {of}"):
                continue
            width, height = seen_size(paths[of])
            label = stem(of) if stems[stem(of)] == 1 else of
            for category in sorted(grouped[of]):
                self._add_class(paths[of], label, (width, height), category, grouped[of][category], tasks)
            others = sorted(set(names.values()) - set(grouped[of])) if "mask" in tasks and absent else []
            for category in random.Random(of).sample(others, min(absent, len(others))):
                nowhere = RLEMask((width * height,), (height, width))
                self._samples.append(self._mask(paths[of], label, category, (nowhere,), np.zeros((0, 4), np.float32)))
        self._check.finish()
        if not self._samples:
            raise UserError(f"{name}: split {split!r} holds no instance for the tasks {', '.join(tasks)}")
        self.counts |= Counter(sample.task for sample in self._samples)

    def _group(
        self, rows: list[Any], files: dict[str, str], names: dict[str, str], chosen: set[str]
    ) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Annotations of each picture and class; a file that has two ids, or a class, is one all the same."""
        grouped: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        seen: dict[str, Any] = {}
        astray: list[UserError] = []
        for i, row in enumerate(rows):
            where = f"{self._file}, annotations[{i}]"
            try:
                image, category = identity(row, "image_id", where), identity(row, "category_id", where)
                fault = UserError(f"{where}: there is no image {image}, or no category {category}")
            except UserError as error:
                image = category = ""
                fault = error
            if image not in files or category not in names:
                astray.append(fault)
                self._check.leave_out("image or category that is not in the file", where)
                if 2 * len(astray) > len(rows):
                    raise UserError(
                        f"{astray[0]}; so it is with {len(astray)} of {len(rows)} annotations. The file is not whole, "
                        "or of several releases"
                    )
            elif files[image] in chosen:
                if "id" in row and seen.setdefault(str(row["id"]), row) is not row and seen[str(row["id"])] == row:
                    self._check.leave_out("there twice", self._place(row, files[image]))
                    continue
                grouped[files[image]][names[category]].append(row)
        return grouped

    def _place(self, row: dict[str, Any], picture: str) -> str:
        return f"{self._file}, {picture}, annotation {_id(row)}"

    def _add_class(
        self,
        path: Path,
        label: str,
        size: tuple[int, int],
        category: str,
        rows: list[dict[str, Any]],
        tasks: Sequence[str],
    ) -> None:
        """The samples of one class of one picture."""
        word = category.replace("_", " ")
        places = [self._place(row, path.name) for row in rows]
        boxes = named("pixel_xywh").to_px(np.array([_bbox(row) for row in rows]), size)
        held = self._check.boxes(boxes, size, places, written=[row.get("bbox") for row in rows])
        lost = any(reason in UNKNOWN_PLACE for reason in held.reasons)  # it is in the picture, nobody knows where
        rows, places = [rows[i] for i in held.kept], [places[i] for i in held.kept]
        if not rows:
            return
        crowd = [row for row, place in zip(rows, places, strict=True) if _is_crowd(row, place)]
        self.leave_out("crowd", *map(_id, crowd))
        self.counts["boxes"] += len(rows) - len(crowd)
        many = self._max_boxes is not None and len(rows) > self._max_boxes
        if many and not crowd:
            self.leave_out(f"more than {self._max_boxes} boxes", *map(_id, rows))
        if "ground" in tasks and not crowd and not many and not lost:
            sample = self._make_ground(
                f"{label}:{category}:ground",
                path,
                size,
                self._prompts["ground"].format(name=word),
                held.boxes,
                convention=self._convention,
                labels=(category,) * len(rows),
                kind=category,
            )
            self._samples.append(sample)
        if "mask" in tasks:
            shapes = [row.get("segmentation") for row in rows]
            found = [self._check.mask(shape, size, path, place) for shape, place in zip(shapes, places, strict=True)]
            masks = [mask for mask in found if mask is not None]
            if len(masks) == len(rows):
                located = None if crowd or lost else held.boxes.astype(np.float32)
                self._samples.append(self._mask(path, label, category, tuple(masks), located))
        if "vqa" in tasks and not crowd and not lost:
            request = self._prompts["vqa"].format(name=word)
            self._add(f"{label}:{category}:vqa", (path,), request, (str(len(rows)),), "vqa", kind="count")

    def _mask(self, path: Path, label: str, category: str, masks: tuple[Lazy, ...], boxes: np.ndarray | None) -> Sample:
        """The request for every thing of a class."""
        several, word = len(masks) > 1, category.replace("_", " ")
        return self._make(
            f"{label}:{category}:mask", (path,), self._prompts["mask"].format(name=word), (f"every {word} [SEG]",),
            "mask", kind=category, mask=UnionMask(masks) if several else masks[0], masks=masks if several else (),
            every=True, boxes_px=boxes, labels=() if boxes is None else (category,) * len(boxes),
        )  # fmt: skip


def _id(row: dict[str, Any]) -> str:
    return str(row.get("id", "?"))


def _bbox(row: dict[str, Any]) -> tuple[float, ...]:
    """Four numbers, which are no finite ones where nobody can read them: such a box is left out, not the release."""
    box = row.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(is_number(n) and abs(n) < _HUGE for n in box):
        return tuple(map(float, box))
    return (math.nan,) * 4


def _stated(row: dict[str, Any], where: str) -> tuple[int, int] | None:
    """(width, height) as the file has it; None where it does not say, as tools that never opened the picture."""
    sides = [row.get(side) for side in ("width", "height")]
    if all(side is None or is_missing(side) for side in sides):
        return None
    try:
        width, height = (int(text_of(side, f"{where}: its width and height", number=True)) for side in sides)
    except ValueError:
        raise UserError(
            f"{where}: expected 'width' and 'height' in whole pixels, found {', '.join(map(shown, sides))}"
        ) from None
    return width, height


def _is_crowd(row: dict[str, Any], place: str) -> bool:
    value = row.get("iscrowd")
    if is_missing(value):
        return False
    if value not in (0, 1, "0", "1"):
        raise UserError(f"{place}: 'iscrowd' should be 0 or 1, found {str(value)[:40]!r}")
    return bool(int(value))
