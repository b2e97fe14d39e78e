"""Files whose pixel values are labels, and their agreement with the picture that they lie on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsmoe.data.images import open_picture, picture_size
from rsmoe.errors import UserError

_INDEX_MODES = {"1", "L", "P", "I", "I;16", "I;16B", "I;16L"}


def read_indices(path: Path) -> np.ndarray:
    """(H, W) uint8 or uint16 pixel values of a file with one band.

    A paletted file gives its indices, not its colours; three equal bands count as one.

    Raises:
        UserError: for a file that is missing, truncated, no picture, too large (`MAX_PIXELS`), coloured, or with values
            outside of 16 bits.
    """
    with open_picture(path, str(path)) as image:
        if image.mode in _INDEX_MODES:
            pixels = np.array(image)
            if pixels.min() < 0 or pixels.max() > 0xFFFF:
                raise UserError(f"{path} holds values from {pixels.min()} to {pixels.max()}; expected 0 to 65535")
            return pixels.astype(np.uint8 if pixels.dtype.itemsize == 1 else np.uint16)
        if image.mode not in ("RGB", "RGBA", "LA"):
            raise UserError(f"{path} has pixels of mode {image.mode!r}; expected one band of whole numbers")
        bands = np.array(image.convert("RGB"))
    if (bands != bands[..., :1]).any():
        raise UserError(f"{path} holds colours, where pixel values were expected: read it with a palette (ColourMap)")
    return bands[..., 0]


def fitting(mask: np.ndarray, what: str, image: Path | None) -> np.ndarray:
    """``mask``, or a `UserError` when it is not of the picture's size; reads the header of the picture alone."""
    if image is not None:
        width, height = picture_size(image)
        if mask.shape != (height, width):
            raise UserError(
                f"{what} has {mask.shape[1]} x {mask.shape[0]} pixels, its image {image} {width} x {height}. "
                "They are not of one release, or one of them was resized: download them again"
            )
    return mask
