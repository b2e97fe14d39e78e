"""Objects with boxes on large pictures, in PASCAL VOC's xml, as tiles of parts of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsmoe.checks.ranges import Fraction, Positive, PositiveReal
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.voc_xml import VOCObject, read_voc
from rsmoe.errors import UserError, require_known
from rsmoe.geo.raster import RasterSource
from rsmoe.geo.windows import tile_starts


class VOCTiles(Reader):
    """One sample a tile: every object in it, as a mask and boxes, for an expert that marks pixels.

    The mask of an object is the ellipse in its box, of ``fill`` of its sides: crowns of trees are round, and boxes that
    touch would be one thing. A box belongs to a tile that holds half of it, clipped; the ellipse of another is marked
    all the same. A picture is a raster, whose windows are read when they are needed.

    Args:
        annotations: the xml files, relative to ``root``; pictures are beside them.
        parts: split -> ``[left, top, right, bottom]`` of every picture, in shares of its sides.
        tile_px: side of a tile.
        overlap: least share of a tile that the next one sees too.
        prompt: the request, with {name}.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        annotations: Sequence[str],
        parts: Mapping[str, Sequence[float]],
        tile_px: Positive,
        overlap: Fraction = 0.5,
        fill: PositiveReal = 1.0,
        prompt: str = "Mark every {name}.",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        home = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        require_known(f"split of {name}", split, known=parts)
        left, top, right, bottom = parts[split]
        check = PictureCheck(self, remedy="Boxes are xmin ymin xmax ymax in pixels")
        self.counts = {"images": 0, "boxes": 0}
        for file in annotations:
            objects = read_voc(home / file)
            if not objects:
                raise UserError(f"{home / file} holds no <object>")
            (path,) = find_images(home, [objects[0].file], source=name).values()
            if not check.picture(path, objects[0].size_px, file):
                continue
            width, height = objects[0].size_px
            part = round(left * width), round(top * height), round(right * width), round(bottom * height)
            self.counts["images"] += 1
            for y in tile_starts(part[3] - part[1], tile_px, overlap=overlap):
                for x in tile_starts(part[2] - part[0], tile_px, overlap=overlap):
                    window = part[0] + x, part[1] + y, min(tile_px, part[2] - part[0]), min(tile_px, part[3] - part[1])
                    for kind in sorted({one.name for one in objects}):
                        same = [one for one in objects if one.name == kind]
                        self._add_tile(RasterSource(path=path, window=window), same, fill, prompt)
        check.finish()
        if not self._samples:
            raise UserError(f"{name}: split {split!r} holds no tile")

    def _add_tile(self, image: RasterSource, objects: Sequence[VOCObject], fill: float, prompt: str) -> None:
        assert image.window is not None
        left, top, width, height = image.window
        y, x = np.mgrid[top : top + height, left : left + width] + 0.5
        masks, boxes = [], []
        for one in objects:
            x1, y1, x2, y2 = one.box
            inside = ((x - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((y - (y1 + y2) / 2) / (y2 - y1)) ** 2 < fill**2 / 4
            if inside.any():
                masks.append(inside)
            cut = max(x1, left) - left, max(y1, top) - top, min(x2, left + width) - left, min(y2, top + height) - top
            seen = max(0.0, cut[2] - cut[0]) * max(0.0, cut[3] - cut[1])
            if seen >= (x2 - x1) * (y2 - y1) / 2:
                boxes.append(cut)
        word = objects[0].name.lower()
        self.counts["boxes"] += len(boxes)
        union = np.logical_or.reduce([np.zeros((height, width), bool), *masks])
        sample = self._make(
            f"{image.path.stem}:{left},{top}:{word}", (image,), prompt.format(name=word), (f"every {word} [SEG]",),
            "mask", kind=word, mask=union, masks=tuple(masks) if len(masks) > 1 else (), every=True,
            boxes_px=np.array(boxes, np.float32).reshape(-1, 4), labels=(word,) * len(boxes),
        )  # fmt: skip
        self._samples.append(sample)
