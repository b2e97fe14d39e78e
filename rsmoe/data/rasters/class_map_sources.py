"""Class maps as releases write them, decoded when they are needed: each is a `rsmoe.data.sample.Lazy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsmoe.data.rasters.mask_files import fitting, read_colours, read_indices, require_lossless
from rsmoe.data.rasters.mask_sources import UNKNOWN, digest
from rsmoe.data.sample import Lazy
from rsmoe.errors import UserError


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
        return f"colours:{self.path}?{digest(self.colours, self.unlabelled)}"

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
        return f"indices:{self.path}?{digest(table, self.ignore)}"

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
    """(H, W) bool mask of some classes of a class map."""

    class_map: Lazy
    values: tuple[int, ...]

    @property
    def key(self) -> str:
        """That of the class map, and the classes."""
        return f"{self.class_map.key}={self.values}"

    def read(self) -> np.ndarray:
        """(H, W) bool; may be empty."""
        return np.isin(self.class_map.read(), self.values)
