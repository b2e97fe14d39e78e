"""How one release or model writes a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsmoe.data.boxes.geometry import obb_corners, obb_from_corners, wrap_angle
from rsmoe.errors import UserError

ORDERS = {"xyxy": 4, "xywh": 4, "xyxya": 5, "cxcywha": 5, "corners": 8}
"""Order of the numbers -> how many: corners x1 y1 x2 y2, first corner and size, the unrotated box and its angle, centre
and size and angle, four corners."""


@dataclass(frozen=True, kw_only=True)
class Convention:
    """Numbers of a box, and the space they live in."""

    name: str
    """What is typed."""
    order: str
    """A key of `ORDERS`."""
    scale: float = 0.0
    """Value that stands for the full width, and for the full height; 0 means pixels."""
    largest: float = 0.0
    """Largest value that is written, where it is less than ``scale``."""
    decimals: int = 0
    """Decimals that are written; with 0 a coordinate is a whole number, and a text with a decimal point fails."""
    digits: int = 1
    """Least number of digits, filled with zeros."""
    braces: bool = False
    """``{<x1><y1><x2><y2>|<angle>}``, else ``[x1, y1, x2, y2, angle]``."""
    clockwise: bool = True
    """Whether a positive angle turns clockwise to the eye, as it does inside the library."""
    padded: bool = False
    """The space is the picture padded to a square, half of the difference on each side (rounded down before it)."""
    clamps: bool = False
    """Negative coordinates mean 0, however negative."""
    source: str
    """Where it is defined."""

    @property
    def oriented(self) -> bool:
        """Whether its boxes are oriented, (n, 5)."""
        return self.order not in ("xyxy", "xywh")

    def frame(self, size_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """(offset, unit): pixel = value * unit - offset, each as (x, y)."""
        size = np.asarray(size_px, dtype=np.float64)
        if size.shape != (2,) or not (size > 0).all():
            raise UserError(f"expected the picture's size as (width, height) in pixels, got {size_px!r}")
        if not self.padded:
            return np.zeros(2), size / self.scale if self.scale else np.ones(2)
        return (size.max() - size) // 2, np.full(2, size.max()) / self.scale

    def step_px(self, size_px: tuple[int, int]) -> np.ndarray:
        """(2,) pixels, in x and in y, between two numbers that can be written."""
        return self.frame(size_px)[1] * 10.0**-self.decimals

    def to_px(self, values: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
        """(n, k) numbers in the order of the convention -> (n, 4) or (n, 5) float32 pixels, unchecked and unclipped.

        Args:
            values: k as in `ORDERS`.
            size_px: (width, height) of the original image.
        """
        rows = np.asarray(values, dtype=np.float64).reshape(-1, ORDERS[self.order])
        offset, unit = self.frame(size_px)
        if self.order == "corners":
            return obb_from_corners(rows.reshape(-1, 4, 2) * unit - offset)
        if self.order == "cxcywha":
            middle, side = rows[:, :2] * unit - offset, rows[:, 2:4] * unit
        else:
            first = rows[:, :2] * unit - offset
            last = rows[:, 2:4] * unit - offset if self.order != "xywh" else first + rows[:, 2:4] * unit
            if not self.oriented:
                return np.concatenate([first, last], axis=-1).astype(np.float32)
            middle, side = (first + last) / 2, last - first
        angle = wrap_angle(rows[:, 4:] if self.clockwise else -rows[:, 4:])
        return np.concatenate([middle, side, angle], axis=-1).astype(np.float32)

    def from_px(self, boxes: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
        """(n, 4) or (n, 5) pixels -> (n, k) float64 numbers in the order of the convention, not yet rounded.

        Raises:
            UserError: horizontal boxes for an oriented convention, or the reverse.
        """
        rows = np.asarray(boxes, dtype=np.float64)
        width = 5 if self.oriented else 4
        if rows.ndim != 2 or rows.shape[1] != width:
            kind = "oriented boxes (n, 5)" if self.oriented else "horizontal boxes (n, 4)"
            raise UserError(f"convention {self.name!r} writes {kind}, got an array {rows.shape}; see hbb_of_obb")
        offset, unit = self.frame(size_px)
        if self.order == "corners":
            return ((obb_corners(rows) + offset) / unit).reshape(-1, 8)
        if not self.oriented:
            first, last = (rows[:, :2] + offset) / unit, (rows[:, 2:] + offset) / unit
            return np.concatenate([first, last - first if self.order == "xywh" else last], axis=-1)
        middle, side = (rows[:, :2] + offset) / unit, rows[:, 2:4] / unit
        angle = wrap_angle(rows[:, 4:] if self.clockwise else -rows[:, 4:])
        ends = [middle, side] if self.order == "cxcywha" else [middle - side / 2, middle + side / 2]
        return np.concatenate([*ends, angle], axis=-1)
