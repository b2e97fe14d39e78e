"""DOTA: oriented boxes in text files."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsmoe.checks.ranges import NonNegative
from rsmoe.data.boxes import convention as named
from rsmoe.data.files.file_names import listed
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, read_lines
from rsmoe.data.readers.picture_check import PictureCheck, seen_size
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """One file: boxes of each class, and what it says of the picture."""

    corners: dict[str, list[list[float]]]
    lines: dict[str, list[int]]
    difficult: int
    meta: dict[str, float | str]


class DOTA(Reader):
    """One sample a picture and class, with the oriented boxes of its objects.

    ``<split>/labelTxt/P0001.txt`` beside ``<split>/images/P0001.png``: first ``imagesource:GoogleEarth`` and
    ``gsd:0.146`` (may be "null", or missing), then one object a line, ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``, the
    corners clockwise in pixels. Four clicked points are seldom a rectangle: the box is the smallest one around them,
    and at the edge around what the picture shows of it (`rsmoe.data.boxes.hold_boxes`).
    "difficult" is 0, or 1 and above. Layout and counts are as we remember it.

    Pictures larger than `rsmoe.geo.pictures.MAX_PIXELS` cannot be decoded whole, and an answer cannot name thousands of
    objects: cut the release into tiles first, as everyone does (the same layout, coordinates of the tile).

    Args:
        split: "train" or "val".
        labels: folder of the text files, relative to ``root``; {split} is replaced.
        images: folder of images, relative to ``root``; {split} is replaced.
        difficult: whether difficult objects are asked for.
        max_boxes: a class with more objects in a picture is not asked for; None asks for all.
        convention: how the answer is written, see `rsmoe.data.boxes`; one of horizontal boxes gives those around.

    Attributes:
        unused: "no object" -> files without a usable one; "more than <max_boxes> boxes" -> file and class; boxes with
            less than a pixel in their picture, or NaN -> file, picture, line.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "dota",
        labels: str = "{split}/labelTxt",
        images: str = "{split}/images",
        difficult: bool = False,
        max_boxes: NonNegative | None = None,
        convention: str = "vrsbench_obb_v1_clockwise",
        prompt: str = "Locate every {name}.",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        place = folder / labels.format(split=split)
        files = listed(place, ".txt") if place.is_dir() else []
        if not files:
            raise UserError(
                f"{name}: {place} holds no text file. Known splits are train and val (test has no labels); unpack the "
                "labels there, or set data.labels to their folder"
            )
        read = {path.stem: _read(path, difficult) for path in files}
        paths = find_images(folder / images.format(split=split), read, source=name)
        left_out = sum(one.difficult for one in read.values())
        self.counts = {"images": len(paths), "boxes": 0, "difficult": left_out, "requests": 0}
        check = PictureCheck(
            self,
            remedy="Labels of DOTA are corners in pixels of the very picture: cut both into tiles, or neither",
        )
        for stem, one in read.items():
            if not one.corners:
                self.leave_out("no object", stem)
                continue
            size = seen_size(paths[stem])
            for category, corners in sorted(one.corners.items()):
                if max_boxes is not None and len(corners) > max_boxes:
                    self.leave_out(f"more than {max_boxes} boxes", f"{stem}:{category}")
                    continue
                places = [f"{stem}.txt, {paths[stem].name}, line {number}" for number in one.lines[category]]
                boxes = named("pixel_corners").to_px(np.array(corners), size)
                held = check.boxes(boxes, size, places, written=corners)
                if not len(held.kept):
                    continue
                self.counts["boxes"] += len(held.kept)
                sample = self._make_ground(
                    f"{stem}:{category}",
                    paths[stem],
                    size,
                    prompt.format(name=category.replace("-", " ")),
                    held.boxes,
                    convention=convention,
                    labels=(category,) * len(held.kept),
                    kind=category,
                    meta=one.meta,
                )
                self._samples.append(sample)
        check.finish()
        if not self._samples:
            raise UserError(f"{name}: split {split!r} holds no object; difficult={difficult}, max_boxes={max_boxes}")
        self.counts["requests"] = len(self._samples)


def _read(path: Path, keep_difficult: bool) -> _Labels:
    corners: dict[str, list[list[float]]] = defaultdict(list)
    lines: dict[str, list[int]] = defaultdict(list)
    meta: dict[str, float | str] = {}
    difficult = 0
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        key, colon, value = line.partition(":")
        if colon and key in ("imagesource", "gsd"):
            if key == "gsd" and _is_number(value) and 0 < float(value) < math.inf:
                meta["gsd_m"] = float(value)
            elif key == "imagesource" and value.strip():
                meta["sensor"] = value.strip()
        elif len(words) == 10 and all(map(_is_number, words[:8])) and words[9].isdecimal():
            if words[9] != "0" and not keep_difficult:
                difficult += 1
            else:
                corners[words[8]].append([float(word) for word in words[:8]])
                lines[words[8]].append(number)
        elif words:
            raise UserError(
                f"{path}, line {number}: expected x1 y1 x2 y2 x3 y3 x4 y4 class difficult, found {line[:80]!r}"
            )
    return _Labels(corners=dict(corners), lines=dict(lines), difficult=difficult, meta=meta)


def _is_number(word: str) -> bool:
    """NaN and infinities too: the box is left out, not the release."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word  # which Python reads in numbers
