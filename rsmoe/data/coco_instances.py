"""Instance annotations in COCO's json: boxes, masks and counts of every class of a picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.annotations import data_root, field, numbers, read_json, rows_by_id
from rsmoe.data.boxes import convention as named
from rsmoe.data.ground_sample import ground_sample
from rsmoe.data.images import find_images
from rsmoe.data.mask_sources import PolygonMask, RLEMask, UnionMask
from rsmoe.data.reader import Reader
from rsmoe.data.sample import Lazy, Sample
from rsmoe.data.splits import held_out, require_fractions
from rsmoe.errors import UserError, unknown_name
from rsmoe.ranges import Fraction, Positive

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
    of polygons or a run-length code; the mask of a sample is the union over the instances. Only classes that are in a
    picture are asked for, in the order of the annotations. Crowds ("iscrowd": 1) are one region
    of many objects: a class with a crowd is not counted and not located in that picture, its mask holds the crowd.

    ``nwpu_vhr10``: NWPU VHR-10, 0.08 to 2 m, 533 to 1728 px, 10 classes; 650 pictures with objects and 150 without in
    the original (Cheng et al., "Multi-class geospatial object detection and geographic image classification based on
    collection of part detectors", ISPRS J. 98, 2014; for research); boxes and polygons in COCO's json come with
    RSPrompter (arXiv:2306.16269, Apache-2.0, https://github.com/KyanChen/RSPrompter). It has no official split.

    Args:
        root: folder of the release; None means ``$RSMOE_DATA/<name>``.
        split: a key of ``annotations``, or "val" / "test" where a fraction makes one.
        name: short name.
        annotations: split -> json, relative to ``root``.
        images: folder of images, relative to ``root``.
        tasks: of "ground", "mask", "vqa".
        convention: how boxes are answered, see `rsmoe.data.boxes`.
        prompts: task -> request with {name}, where it is not that of `PROMPTS`.
        max_boxes: a class with more instances in a picture is not located; None asks for all.
        val_fraction: share of the pictures of "train" that becomes "val", by `held_out`; 0 where the release has one.
        test_fraction: the same for "test".
        official: counts of each split, as the release states them.

    Attributes:
        counts: of this split: "images", "boxes", and samples of each task.
        unused: "crowd", "no area", "more than <max_boxes> boxes", "no polygon", "no instance" -> ids.

    Raises:
        UserError: for a missing file, another format (naming the key), ids that point nowhere, images that are missing
            or empty, an unknown split or task.
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
        max_boxes: Positive | None = None,
        val_fraction: Fraction = 0.0,
        test_fraction: Fraction = 0.0,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_fractions(name, val_fraction=val_fraction, test_fraction=test_fraction)
        self._prompts = PROMPTS | dict(prompts or {})
        for task in (*tasks, *self._prompts):
            if task not in PROMPTS:
                raise unknown_name("task", task, PROMPTS)
        made = {"val": val_fraction, "test": test_fraction} if "train" in annotations else {}
        if split not in (known := {*annotations, *(key for key, share in made.items() if share)}):
            raise unknown_name(f"split of {name}", split, known)
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self._convention, self._max_boxes = convention, max_boxes
        file = annotations["train" if split not in annotations and "train" in annotations else split]
        content = read_json(folder / file)
        pictures, categories = (rows_by_id(content, key, file) for key in ("images", "categories"))
        names = {key: field(row, "name", str, f"{file}, category {key}") for key, row in categories.items()}
        chosen = {field(row, "file_name", str, f"{file}, image {key}") for key, row in pictures.items()}
        if file == annotations.get("train"):
            test, both = held_out(chosen, test_fraction), held_out(chosen, val_fraction + test_fraction)
            chosen = {"train": chosen - both, "val": both - test, "test": test}[split]
        grouped: dict[int, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for i, row in enumerate(field(content, "annotations", list, file)):
            where = f"{file}, annotations[{i}]"
            image, category = field(row, "image_id", int, where), field(row, "category_id", int, where)
            if image not in pictures or category not in names:
                raise UserError(f"{where}: there is no image {image}, or no category {category}")
            if pictures[image]["file_name"] in chosen:
                grouped[image][category].append(row)
        paths = find_images(folder / images, chosen, source=name)
        self.counts: dict[str, int] = {"images": len(paths), "boxes": 0}
        for key, picture in pictures.items():
            if picture["file_name"] not in chosen:
                continue
            if not grouped[key]:
                self.unused.setdefault("no instance", []).append(picture["file_name"])
            size = tuple(field(picture, side, int, f"{file}, image {key}") for side in ("width", "height"))
            for category in sorted(grouped[key]):
                self._add(paths[picture["file_name"]], size, names[category], grouped[key][category], tasks)
        if not self._samples:
            raise UserError(f"{name}: split {split!r} holds no instance for the tasks {', '.join(tasks)}")
        self.counts |= Counter(sample.task for sample in self._samples)

    def _add(
        self, path: Path, size: tuple[int, ...], category: str, rows: list[dict[str, Any]], tasks: Sequence[str]
    ) -> None:
        """The samples of one class of one picture."""
        width, height = size
        word = category.replace("_", " ")
        where = f"{path.name}, {category}"
        boxes = np.array([numbers(row, "bbox", 4, f"{where}, annotation {row.get('id')}") for row in rows])
        solid = boxes[:, 2:].min(axis=1) > 0
        self._leave_out("no area", [rows[i] for i in np.flatnonzero(~solid)])
        rows, boxes = [rows[i] for i in np.flatnonzero(solid)], boxes[solid]
        if not rows:
            return
        crowd = [row for row in rows if row.get("iscrowd", 0)]
        self._leave_out("crowd", crowd)
        self.counts["boxes"] += len(rows) - len(crowd)
        many = self._max_boxes is not None and len(rows) > self._max_boxes
        if many and not crowd:
            self._leave_out(f"more than {self._max_boxes} boxes", rows)
        if "ground" in tasks and not crowd and not many:
            self._samples.append(
                ground_sample(
                    id=f"{path.stem}:{category}:ground",
                    image=path,
                    size_px=(width, height),
                    instruction=self._prompts["ground"].format(name=word),
                    boxes=named("pixel_xywh").to_px(boxes, (width, height)),
                    labels=(category,) * len(rows),
                    convention=self._convention,
                    source=self.name,
                    kind=category,
                )
            )
        masks = _masks(rows, (height, width), path, where) if "mask" in tasks else []
        if "mask" in tasks and len(masks) < len(rows):
            self._leave_out("no polygon", rows)
        elif masks:
            self._samples.append(
                self._sample(path, category, "mask", f"the {word} is here [SEG]", mask=UnionMask(tuple(masks)))
            )
        if "vqa" in tasks and not crowd:
            self._samples.append(self._sample(path, category, "vqa", str(len(rows))))

    def _sample(self, path: Path, category: str, task: str, response: str, mask: Lazy | None = None) -> Sample:
        return Sample(
            id=f"{path.stem}:{category}:{task}",
            images=(path,),
            instruction=self._prompts[task].format(name=category.replace("_", " ")),
            responses=(response,),
            task=task,
            source=self.name,
            kind="count" if task == "vqa" else category,
            mask=mask,
        )

    def _leave_out(self, reason: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            self.unused.setdefault(reason, []).extend(str(row.get("id", "?")) for row in rows)


def _masks(rows: list[dict[str, Any]], size: tuple[int, int], path: Path, where: str) -> list[Lazy]:
    """The mask of every instance that has one; ``size`` is (H, W)."""
    masks: list[Lazy] = []
    for row in rows:
        shape = row.get("segmentation")
        if isinstance(shape, dict):
            place = f"{where}, annotation {row.get('id')}"
            code = shape["counts"] if isinstance(shape.get("counts"), list) else field(shape, "counts", str, place)
            extent = field(shape, "size", list, place)
            masks.append(RLEMask(counts=code, size=(extent[0], extent[1]), image=path))
        elif shape:
            masks.append(PolygonMask(polygons=tuple(map(tuple, shape)), size=size, image=path))
    return masks
