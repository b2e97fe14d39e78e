"""Annotations held against the picture they speak of: what cannot be true is left out, named and counted.

A release with one broken box, mask or picture is still of use; one whose boxes are all of another convention, or whose
pictures were all scaled, is not. So each fault goes into `rsmoe.data.readers.reader.Reader.unused`, and
`PictureCheck.finish` refuses what is left where most of it is at fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.boxes import HeldBoxes, hold_boxes, parse
from rsmoe.data.boxes.held import NO_AREA
from rsmoe.data.rasters.images import picture_size
from rsmoe.data.rasters.mask_sources import PolygonMask, RLEMask, UnionMask
from rsmoe.data.rasters.polygons import area_left, corners
from rsmoe.data.rasters.rle import runs_of
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Lazy
from rsmoe.errors import UserError
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.pictures import open_picture

NO_POLYGON = "no polygon"
"""Why an instance without any segmentation has no mask; it may have none by right."""

_FEW = 4
"""Boxes of which less than all may be at fault without a refusal: of so few half says little."""

_MANY = 20
"""Boxes that have to be there to say that all of them are suspiciously small."""


def seen_size(path: Path) -> tuple[int, int]:
    """(width, height) of `picture_size`, remembered: a hundred requests may be about one picture."""
    status = path.stat()
    return _seen_size(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1 << 16)
def _seen_size(path: Path, mtime_ns: int, size: int) -> tuple[int, int]:
    return picture_size(path)


class PictureCheck:
    """What one reader finds when it holds its annotations against their pictures; it leaves out what is at fault.

    Args:
        space: what the numbers of a box are taken for, in words.
        remedy: what to do when most boxes do not fit.
        declared: whether ``space`` is a setting, because the release does not say it: then boxes that reach far over
            the edge speak against it too.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        space: str = "pixels",
        remedy: str = "",
        declared: bool = False,
    ) -> None:
        self._name, self.leave_out = reader.name, reader.leave_out
        self._space, self._remedy, self._declared = space, remedy, declared
        self._boxes = self._bad = self._strayed = 0
        self._first_box = ""
        self._largest = self._least_side = 0.0
        self._fractions = False
        self._pictures = self._other = self._masks = self._broken = 0
        self._first_picture = self._first_mask = ""

    def boxes(
        self,
        boxes_px: np.ndarray,
        size_px: tuple[int, int],
        places: Sequence[str],
        *,
        written: Sequence[Any] | None = None,
    ) -> HeldBoxes:
        """`hold_boxes`; those left out are named.

        Args:
            boxes_px: (n, 4) or (n, 5) pixels.
            size_px: (width, height) of the picture.
            places: of each box, the file, the picture and the annotation.
            written: each box as the release has it, for the message.
        """
        held = hold_boxes(boxes_px, size_px)
        for i, reason in enumerate(held.reasons):
            if reason:
                self.leave_out(reason, places[i])
            if not self._first_box and (reason or (self._declared and held.strayed)):
                said = boxes_px[i].tolist() if written is None else written[i]
                said = list(said) if isinstance(said, tuple) else said
                self._first_box = (
                    f"{places[i]}: {str(said)[:80]} is no box on a picture of {size_px[0]} x {size_px[1]} pixels "
                    f"({reason or 'reaches over its edge'})"
                )
        self._boxes += len(held.reasons)
        self._bad += sum(reason not in ("", NO_AREA) for reason in held.reasons)  # without an area it hurts nobody
        self._strayed += held.strayed
        if len(held.kept):
            numbers_px = np.asarray(boxes_px, dtype=np.float64)[held.kept, :4]
            self._largest = max(self._largest, float(np.abs(numbers_px).max()))
            self._fractions |= bool((numbers_px % 1).any())
        self._least_side = min(self._least_side or float("inf"), *size_px)
        return held

    def words(
        self, text: str, *, convention: str, size_px: tuple[int, int] | None, place: str, boxes: int | None = None
    ) -> bool:
        """Whether the boxes of an answer in words are boxes of its picture; it is named where they are not.

        Words are not mended: an answer with a box outside of the picture is no truth.

        Args:
            convention: that it is written in.
            size_px: (width, height) of the picture; None where the convention does not depend on it.
            place: the file, the picture and the annotation.
            boxes: how many boxes it has to hold, flat ones too, which published numbers count; None is any number with
                an area, or words without a box.
        """
        parsed = parse(text, convention=convention, size_px=size_px or (1000, 1000))
        wrong = parsed.astray if boxes is None else parsed.failures + (len(parsed.boxes) != boxes)
        self._boxes += len(parsed.boxes) + parsed.failures
        if wrong:
            self._bad += parsed.failures or 1
            said = parsed.failed[0] if parsed.failed else f"{text[:80]!r}: holds {len(parsed.boxes)} boxes, not {boxes}"
            if size_px is None:
                said = said.replace(" of 1000 x 1000", "")  # its size does not matter, and nobody has looked
            self._first_box = self._first_box or f"{place}: {said}"
            self.leave_out("an answer that is no box of its picture", place)
        elif boxes is None and any(hold_boxes(parsed.boxes, size_px or (1000, 1000)).reasons):
            self.leave_out(NO_AREA, place)
            return False
        return not wrong

    def picture(self, path: Path, stated: tuple[int, int], place: str) -> bool:
        """Whether a picture has the (width, height) that its release states; it is named where it has not."""
        self._pictures += 1
        seen = seen_size(path)
        if seen == stated:
            return True
        self._other += 1
        lies = False
        if not raster_drivers(path):  # GDAL's are turned upright by their own tag
            with open_picture(path, str(path)) as image:
                lies = image.size == stated
        reason = "turned by an orientation tag" if lies else "size not as stated"
        said = f"{place}, stated as {stated[0]} x {stated[1]}, is {seen[0]} x {seen[1]}"
        self.leave_out(reason, said)
        if not self._first_picture:
            remedy = (
                f"The annotations are of the file without its orientation tag: exiftool -Orientation= {path.name}"
                if lies
                else "They were scaled, or are of another release: give the pictures that the annotations were made on"
            )
            self._first_picture = f"{said} pixels. {remedy}"
        return False

    def same_size(self, paths: Sequence[Path], place: str) -> bool:
        """Whether pictures and maps that lie on each other have one size; they are named where they have not."""
        try:
            sizes = [seen_size(path) for path in paths]
        except UserError:
            return True  # what cannot be read says so when it is read
        self._pictures += 1
        if len(set(sizes)) == 1:
            return True
        said = f"{place}: " + ", ".join(
            f"{path.name} has {width} x {height}" for path, (width, height) in zip(paths, sizes, strict=True)
        )
        self._other += 1
        self.leave_out("of different sizes", said)
        self._first_picture = (
            self._first_picture
            or f"{said} pixels. They are not of one release, or one of them was resized: download them again"
        )
        return False

    def mask(self, shape: Any, size_px: tuple[int, int], image: Path, place: str) -> Lazy | None:
        """The mask of a COCO segmentation, or None; a part without a pixel is dropped, any other fault named.

        Args:
            shape: a list of polygons, a run-length code ``{"counts", "size"}`` or a list of codes.
            size_px: (width, height) of the picture.
            place: the file, the picture and the annotation.
        """
        mask, fault = _segmentation(shape, size_px, image)
        self._masks += 1
        if fault:
            self._broken += fault != NO_POLYGON
            self._first_mask = self._first_mask or f"{place}: {fault}"
            self.leave_out(fault, place)
        return mask

    def finish(self) -> None:
        """Refuses a release of which most is at fault.

        Raises:
            UserError: most boxes are none, under a declared convention most reach over the edge, all of them are so
                small that they are parts of the sides, or most pictures are of another size than they should be.
        """
        if 2 * self._other > self._pictures:
            raise UserError(
                f"{self._name}: {self._other} of {self._pictures} pictures are not of the size of what lies on them, "
                f"the first: {self._first_picture}"
            )
        if self._broken and 2 * self._broken > self._masks and (self._broken == self._masks or self._masks >= _FEW):
            raise UserError(
                f"{self._name}: {self._broken} of {self._masks} masks are none of their pictures, the first: "
                f"{self._first_mask}. Download the annotations again, and give the pictures they were made on"
            )
        against = self._bad + self._strayed * self._declared
        most = 2 * against > self._boxes and (self._declared or self._boxes >= _FEW)
        if against and (most or self._bad == self._boxes):
            raise UserError(
                f"{self._name}: {against} of {self._boxes} boxes do not fit their pictures, the first: "
                f"{self._first_box} when read as {self._space}. {self._remedy}"
            )
        scale = next((s for s in (1, 100, 1000) if self._largest <= s), 0)
        tiny = scale == 1 and self._fractions
        small = self._boxes >= _MANY and scale > 1 and self._largest >= 0.9 * scale and self._least_side >= 3 * scale
        if "pixel" in self._space and (tiny or small):
            raise UserError(
                f"{self._name}: all {self._boxes} boxes lie within 0 to {scale}, on pictures of "
                f"{self._least_side:.0f} pixels and more: they are parts of the sides, not pixels. {self._remedy}"
            )


def _segmentation(shape: Any, size_px: tuple[int, int], image: Path) -> tuple[Lazy | None, str]:
    """(mask, "") or (None, fault)."""
    width, height = size_px
    parts = [shape] if isinstance(shape, Mapping) else shape
    if not isinstance(parts, list | tuple) or not parts:
        return None, NO_POLYGON
    masks: list[Lazy] = []
    polygons = []
    for part in parts:
        if isinstance(part, Mapping):
            mask, fault = _code(part, (height, width), image)
            if mask is None:
                return None, fault
            masks.append(mask)
            continue
        if isinstance(part, list | tuple) and len(part) in (0, 2, 4) and all(isinstance(n, int | float) for n in part):
            continue  # a point or a line, which tools leave behind: no pixel is lost
        try:
            polygon = corners(part)
        except UserError:
            return None, "broken polygon"
        if area_left(polygon, (height, width)):
            polygons.append(polygon)
    if polygons:
        masks.append(PolygonMask(tuple(polygons), (height, width), image=image))
    if not masks:
        return None, "polygon without a pixel in its picture"
    return (masks[0] if len(masks) == 1 else UnionMask(tuple(masks))), ""


def _code(part: Mapping[str, Any], size: tuple[int, int], image: Path) -> tuple[Lazy | None, str]:
    try:
        mask = RLEMask(part.get("counts", 0), part.get("size", 0), image=image)
        if tuple(mask.size) != size:
            return None, "run-length code of another size than its picture"
        runs = runs_of(mask.counts, size)
    except UserError:
        return None, "broken run-length code"
    return (mask, "") if any(runs[1::2]) else (None, "run-length code without a pixel")
