"""The region of a picture that a request is about: a box or a polygon."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsmoe.data.boxes.box_text import write
from rsmoe.data.boxes.conventions import convention as named
from rsmoe.data.boxes.geometry import box_corners, clip_polygon, obb_around, polygon_area
from rsmoe.data.rasters.polygons import corners as corners_of
from rsmoe.data.rasters.polygons import fill_polygon
from rsmoe.data.transforms.symmetries import turn_vector
from rsmoe.errors import UserError

REGION = "<region>"
"""What stands in the words of a request for its region: `rsmoe.data.collate.Collate` writes the box there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A polygon in parts of the sides of its picture, so that it fits the picture at any size."""

    corners: np.ndarray
    """(k, 2) float64 x and y from 0 to 1."""
    size_px: tuple[int, int]
    """(width, height) of the picture as it was given, for conventions that write pixels."""

    @classmethod
    def of(cls, given: Any, *, size_px: tuple[int, int]) -> Region:
        """The part of a box or a polygon that lies in the picture.

        Args:
            given: ``[x1, y1, x2, y2]``, or three or more corners ``[[x, y], ...]``, in pixels.
            size_px: (width, height) of the picture.

        Raises:
            UserError: no box and no polygon, coordinates that are no finite numbers, corners of a box out of order, no
                area, or less than a pixel inside of the picture.
        """
        width, height = size_px
        values = np.asarray(given, dtype=object)
        told = f"region={str(values.tolist())[:80]}"
        how = f"expected [x1,y1,x2,y2] or [[x,y],[x,y],[x,y],...] in pixels of a picture of {width} x {height}"
        if values.shape == (4,):
            try:
                box = values.astype(np.float64)
            except (TypeError, ValueError):
                raise UserError(f"{told}: {how}") from None
            if not np.isfinite(box).all():
                raise UserError(f"{told} is not finite: {how}")
            if (box[2:] <= box[:2]).any():
                raise UserError(f"{told} has its corners out of order, or no area: {how}")
            points = box_corners(box)
        else:
            try:
                points = np.array(corners_of(given)).reshape(-1, 2)
            except UserError:
                raise UserError(f"{told}: {how}") from None
        picture = [(0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height))]
        outline = [(float(x), float(y)) for x, y in points]
        if polygon_area(outline) <= 0:
            raise UserError(f"{told} has no area: {how}")
        inside = clip_polygon(outline, picture)
        if polygon_area(inside) < 0.99 * min(1.0, polygon_area(outline)):
            raise UserError(f"{told} lies outside of its picture: {how}")
        return cls(corners=np.array(inside) / [width, height], size_px=(width, height))

    def turned(self, symmetry: int) -> Region:
        """Of the picture that `rsmoe.data.transforms.symmetries.turn_image` turns."""
        middle = [turn_vector((float(x), float(y)), symmetry) for x, y in self.corners - 0.5]
        return replace(self, corners=np.array(middle) + 0.5)

    def inside(self, window: tuple[float, float, float, float]) -> bool:
        """Whether all of it lies in a window ``x y w h``, in parts of the sides."""
        moved = self.cut(window).corners
        return bool((moved >= 0).all() and (moved <= 1).all())

    def cut(self, window: tuple[float, float, float, float]) -> Region:
        """Of the picture that a window ``x y w h``, in parts of the sides, leaves."""
        return replace(self, corners=(self.corners - window[:2]) / window[2:])

    def text(self, convention: str) -> str:
        """The box around it, horizontal or oriented, as a convention of `rsmoe.data.boxes.CONVENTIONS` writes it."""
        points = self.corners * self.size_px
        hull = np.concatenate([points.min(axis=0), points.max(axis=0)])[None]
        box = obb_around(points[None]) if named(convention).oriented else hull
        return write(box, convention=convention, size_px=self.size_px)

    def mask(self, size: int) -> Tensor:
        """(size, size) bool: the pixels whose centre is inside, or the one in its middle if there is none."""
        mask = np.zeros((size, size), dtype=bool)
        fill_polygon(mask, self.corners * size)
        if not mask.any():
            x, y = (self.corners.mean(axis=0) * size).clip(0, size - 1).astype(int)
            mask[y, x] = True
        return torch.from_numpy(mask)
