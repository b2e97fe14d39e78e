"""Masks and class maps as releases write them, decoded when they are needed: each is a `rsmoe.data.sample.Lazy`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsmoe.data.rasters.mask_files import fitting, is_lossy, read_shades, require_lossless
from rsmoe.data.rasters.polygons import corners, fill_polygon
from rsmoe.data.rasters.rle import decode_rle
from rsmoe.data.sample import Lazy
from rsmoe.errors import UserError
from rsmoe.geo.pictures import MAX_PIXELS

UNKNOWN = 255
"""Value of a class map where nothing is known and nothing is scored."""


@dataclass(frozen=True)
class RLEMask:
    """(H, W) bool mask in COCO's run-length code, see `decode_rle`.

    Args:
        counts: the compressed string (bytes of it too), or the list of runs.
        size: (H, W), as in the release.
        image: the picture that it lies on; `read` then refuses a code of another size.

    Raises:
        UserError: for counts or a size of another type, or more than `MAX_PIXELS` pixels; when read, for a damaged
            code.
    """

    counts: str | Sequence[int]
    size: Sequence[int]
    image: Path | None = None

    def __post_init__(self) -> None:
        counts: object = self.counts.decode("ascii", "replace") if isinstance(self.counts, bytes) else self.counts
        if isinstance(counts, list | tuple) and all(type(run) is int for run in counts):
            counts = tuple(counts)
        elif not isinstance(counts, str):
            raise UserError(f"expected the counts of a mask as a string or whole numbers, found {str(counts)[:40]!r}")
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "size", _size(self.size))

    @property
    def key(self) -> str:
        """Hash of the code and the size."""
        return "rle:" + digest(self.counts, self.size)

    def read(self) -> np.ndarray:
        """(H, W) bool."""
        return fitting(decode_rle(self.counts, _size(self.size)), "a run-length mask", self.image)


@dataclass(frozen=True)
class PolygonMask:
    """(H, W) bool union of polygons.

    A pixel is inside when its centre is: pixel (i, j) covers i <= x < i + 1, and of two polygons that share an edge
    exactly one gets each pixel on it. The square (0, 0) to (10, 10) is 10 x 10 pixels, as COCO counts its area, not
    the 11 x 11 of Pillow's drawing. Where one polygon overlaps itself, the twice covered part is outside (even-odd);
    different polygons add up.

    Args:
        polygons: each ``x1 y1 x2 y2 ...`` in pixels, or a list of (x, y); at least three corners.
        size: (H, W).
        image: the picture that it lies on; `read` then refuses another size.

    Raises:
        UserError: for fewer than three corners, coordinates that are no finite numbers, or too many pixels.
    """

    polygons: Sequence[Sequence[float] | Sequence[Sequence[float]]]
    size: Sequence[int]
    image: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "polygons", tuple(corners(polygon) for polygon in self.polygons))
        object.__setattr__(self, "size", _size(self.size))

    @property
    def key(self) -> str:
        """Hash of the corners and the size."""
        return "polygons:" + digest(self.polygons, self.size)

    def read(self) -> np.ndarray:
        """(H, W) bool."""
        mask = np.zeros(_size(self.size), dtype=bool)
        for polygon in self.polygons:
            fill_polygon(mask, np.asarray(polygon, dtype=np.float64).reshape(-1, 2))
        return fitting(mask, "a polygon mask", self.image)


@dataclass(frozen=True)
class FileMask:
    """(H, W) bool mask of a file with one band: grey, paletted (its indices, not its colours), 1 or 16 bits.

    A file of three equal bands counts as one band. The set bit of a file of 1 bit is 255. A palette of greys counts as
    grey, see `read_shades`. JPEG leaves ripples around a shape: there "above 0" is above 127.

    Args:
        above: True where the pixel is greater.
        image: the picture that it lies on; `read` then refuses another size.

    Raises:
        UserError: when read, for a file that is missing, truncated, coloured, or of another size than the picture, and
            for a JPEG of small values.
    """

    path: Path
    above: int = 0
    image: Path | None = None

    @property
    def key(self) -> str:
        """The path and the rule."""
        return f"mask:{self.path}?>{self.above}"

    def read(self) -> np.ndarray:
        """(H, W) bool."""
        pixels, above = read_shades(self.path), self.above
        if above == 0 and pixels.any() and is_lossy(self.path):
            if pixels.max() < 128:
                require_lossless(self.path)
            above = 127
        if pixels.dtype == bool:  # the set bit is 255 to those who wrote the rule for 8 bits
            pixels = pixels * np.uint8(255)
        return fitting(pixels > above, str(self.path), self.image)


@dataclass(frozen=True)
class UnionMask:
    """(H, W) bool: the pixels of any of several masks of one size, for an answer with several targets."""

    masks: tuple[Lazy, ...]

    @property
    def key(self) -> str:
        """Hash of the masks' keys."""
        return "union:" + digest(*(mask.key for mask in self.masks))

    def read(self) -> np.ndarray:
        """(H, W) bool; raises a `UserError` when the sizes differ."""
        masks = [mask.read() for mask in self.masks]
        if len({mask.shape for mask in masks}) != 1:
            raise UserError(f"expected masks of one size, found {[mask.shape for mask in masks][:5]}")
        return np.logical_or.reduce(masks)


def _size(size: object) -> tuple[int, int]:
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(type(n) is int and n > 0 for n in size):
        raise UserError(f"expected the size of a mask as [height, width] in pixels, found {str(size)[:40]}")
    if size[0] * size[1] > MAX_PIXELS:
        raise UserError(f"a mask of {size[0]} x {size[1]} has more than {MAX_PIXELS:,} pixels, too many to decode")
    return size[0], size[1]


def digest(*parts: object) -> str:
    """SHA-256 of the parts' ``repr``, 32 hexadecimal digits; for keys."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
