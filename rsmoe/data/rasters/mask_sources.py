"""Masks and class maps as releases write them, decoded when they are needed: each is a `rsmoe.data.sample.Lazy`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsmoe.data.rasters.images import MAX_PIXELS
from rsmoe.data.rasters.mask_files import fitting, is_lossy, read_colours, read_indices, read_shades, require_lossless
from rsmoe.data.rasters.polygons import corners, fill_polygon
from rsmoe.data.rasters.rle import decode_rle
from rsmoe.data.sample import Lazy
from rsmoe.errors import UserError

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
        return "rle:" + _digest(self.counts, self.size)

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
        return "polygons:" + _digest(self.polygons, self.size)

    def read(self) -> np.ndarray:
        """(H, W) bool."""
        mask = np.zeros(_size(self.size), dtype=bool)
        for polygon in self.polygons:
            fill_polygon(mask, np.asarray(polygon, dtype=np.float64).reshape(-1, 2))
        return fitting(mask, "a polygon mask", self.image)


@dataclass(frozen=True)
class FileMask:
    """(H, W) bool mask of a file with one band: grey, paletted (its indices, not its colours), 1 or 16 bits.

    A file of three equal bands counts as one band. The set bit of a file of 1 bit is 1 and 255 alike. A palette of
    greys counts as grey without ``values``, see `read_shades`. JPEG leaves ripples around a shape: there "above 0" is
    above 127.

    Args:
        path: the file.
        values: True where the pixel is one of these; None means by ``above``.
        above: without ``values``, True where the pixel is greater.
        image: the picture that it lies on; `read` then refuses another size.

    Raises:
        UserError: when read, for a file that is missing, truncated, coloured, or of another size than the picture, and
            for a JPEG of ``values``, or of small ones.
    """

    path: Path
    values: tuple[int, ...] | None = None
    above: int = 0
    image: Path | None = None

    @property
    def key(self) -> str:
        """The path and the rule."""
        return f"mask:{self.path}?{'>' + str(self.above) if self.values is None else self.values}"

    def read(self) -> np.ndarray:
        """(H, W) bool."""
        if self.values is not None:
            require_lossless(self.path)
            pixels = read_indices(self.path)
        else:
            pixels = read_shades(self.path)
        if self.values is None and self.above == 0 and pixels.any() and is_lossy(self.path):
            if pixels.max() < 128:
                require_lossless(self.path)
            return fitting(pixels > 127, str(self.path), self.image)
        mask = self._holds(pixels)
        if pixels.dtype == bool:  # the set bit is 255 to those who wrote the rule for 8 bits
            mask |= self._holds(pixels * np.uint8(255)) & pixels
        return fitting(mask, str(self.path), self.image)

    def _holds(self, pixels: np.ndarray) -> np.ndarray:
        return pixels > self.above if self.values is None else np.isin(pixels, self.values)


@dataclass(frozen=True)
class ColourMap:
    """(H, W) uint8 class map of a file whose colours mean classes, RGB or paletted.

    Args:
        path: the file; it has to be lossless.
        colours: (red, green, blue) of class 0, 1 ...; at most 255.
        unlabelled: colours that mean no class, read as 255. Given (an empty tuple too), any further colour is an
            error, for then the palette is not the one of this file; None reads every other colour as 255.
        image: the picture that it lies on; `read` then refuses another size.

    Raises:
        UserError: for a colour that is given twice or is none; when read, for a file that is missing or truncated, of
            another size than the picture, or with unknown colours (counted, five named).
    """

    path: Path
    colours: tuple[tuple[int, int, int], ...]
    unlabelled: tuple[tuple[int, int, int], ...] | None = None
    image: Path | None = None

    def __post_init__(self) -> None:
        known = [*self.colours, *(self.unlabelled or ())]
        if not 0 < len(self.colours) <= UNKNOWN or len(set(known)) < len(known):
            raise UserError(f"expected 1 to {UNKNOWN} different colours, found {known[:6]}")
        if not all(len(colour) == 3 and all(0 <= band <= 255 for band in colour) for colour in known):
            raise UserError(f"expected colours as three numbers from 0 to 255, found {known[:6]}")

    @property
    def key(self) -> str:
        """The path and the palette."""
        return f"colours:{self.path}?{_digest(self.colours, self.unlabelled)}"

    def read(self) -> np.ndarray:
        """(H, W) uint8, 255 where no class is known."""
        if self.unlabelled is None:  # otherwise a colour that was changed is one of those that mean no class
            require_lossless(self.path)
        red, green, blue = np.moveaxis(read_colours(self.path), -1, 0).astype(np.uint32)
        packed = red << 16 | green << 8 | blue  # (H, W)
        classes = np.full(packed.shape, UNKNOWN, dtype=np.uint8)
        unknown = np.ones(packed.shape, dtype=bool)
        known = [r << 16 | g << 8 | b for r, g, b in (*self.colours, *(self.unlabelled or ()))]
        for k, code in enumerate(known):
            here = packed == code
            unknown &= ~here
            if k < len(self.colours):
                classes[here] = k
        if self.unlabelled is not None and unknown.any():
            strange, counts = np.unique(packed[unknown], return_counts=True)
            named = ", ".join(f"#{strange[i]:06X} ({counts[i]} pixels)" for i in np.argsort(-counts)[:5])
            raise UserError(
                f"{self.path} has {len(strange)} colours that mean no class: {named}. Expected "
                f"{', '.join(f'#{code:06X}' for code in known[:8])}. Give this release's palette, or a lossless file"
            )
        return fitting(classes, str(self.path), self.image)


@dataclass(frozen=True)
class IndexMap:
    """(H, W) uint8 class map of a file whose pixel values mean classes: one band, or three equal ones.

    Args:
        path: the file.
        remap: {pixel value: class}; None takes the value as the class.
        ignore: pixel values that are read as 255.
        image: the picture that it lies on; `read` then refuses another size.

    Raises:
        UserError: for a class outside of 0 to 254, or a pixel value outside of 16 bits; when read, for a file that is
            missing, truncated, coloured, compressed as JPEG, or of another size than the picture, or for values that
            mean nothing (named).
    """

    path: Path
    remap: Mapping[int, int] | None = None
    ignore: tuple[int, ...] = (UNKNOWN,)
    image: Path | None = None

    def __post_init__(self) -> None:
        wrong = [index for index in (self.remap or {}).values() if not 0 <= index < UNKNOWN]
        if wrong:
            raise UserError(f"expected classes from 0 to {UNKNOWN - 1} to remap to, found {wrong[:5]}")
        wrong = [value for value in (*(self.remap or ()), *self.ignore) if not 0 <= value < 1 << 16]
        if wrong:
            raise UserError(f"expected pixel values from 0 to {(1 << 16) - 1}, found {wrong[:5]}")

    @property
    def key(self) -> str:
        """The path and the table."""
        table = None if self.remap is None else sorted(self.remap.items())
        return f"indices:{self.path}?{_digest(table, self.ignore)}"

    def read(self) -> np.ndarray:
        """(H, W) uint8, 255 where no class is known."""
        require_lossless(self.path)
        pixels = read_indices(self.path).astype(np.uint16)
        table = dict(self.remap) if self.remap is not None else {value: value for value in range(UNKNOWN)}
        table |= dict.fromkeys(self.ignore, UNKNOWN)
        look_up = np.full(1 << 16, -1, dtype=np.int16)
        look_up[list(table)] = list(table.values())
        classes = look_up[pixels]
        if (classes < 0).any():
            strange = np.unique(pixels[classes < 0])[:8].tolist()
            raise UserError(
                f"{self.path} holds the values {', '.join(map(str, strange))}, which mean no class. Known: "
                f"{', '.join(map(str, sorted(table)[:20]))}. Give this release's table, or name them to ignore"
            )
        return fitting(classes.astype(np.uint8), str(self.path), self.image)


@dataclass(frozen=True)
class ClassMask:
    """(H, W) bool mask of some classes of a class map.

    Args:
        class_map: a source of (H, W) uint8.
        values: the classes.
    """

    class_map: Lazy
    values: tuple[int, ...]

    @property
    def key(self) -> str:
        """That of the class map, and the classes."""
        return f"{self.class_map.key}={self.values}"

    def read(self) -> np.ndarray:
        """(H, W) bool; may be empty."""
        return np.isin(self.class_map.read(), self.values)


@dataclass(frozen=True)
class UnionMask:
    """(H, W) bool: the pixels of any of several masks of one size, for an answer with several targets."""

    masks: tuple[Lazy, ...]

    @property
    def key(self) -> str:
        """Hash of the masks' keys."""
        return "union:" + _digest(*(mask.key for mask in self.masks))

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


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
