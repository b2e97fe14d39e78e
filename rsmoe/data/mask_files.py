"""Files whose pixel values are labels, and their agreement with the picture that they lie on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from rsmoe.data.images import MAX_PIXELS
from rsmoe.errors import UserError

_INDEX_MODES = {"1", "L", "P", "I", "I;16", "I;16B", "I;16L"}


def read_indices(path: Path) -> np.ndarray:
    """(H, W) uint8 or uint16 pixel values of a file with one band.

    A paletted file gives its indices, not its colours; three equal bands count as one.

    Raises:
        UserError: for a file that is missing, truncated, no picture, too large (`MAX_PIXELS`), coloured, or with values
            outside of 16 bits.
    """
    if not path.is_file():
        raise UserError(f"no mask file {path}")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path)
            if image.mode in _INDEX_MODES:
                pixels = np.array(image)
                if pixels.min() < 0 or pixels.max() > 0xFFFF:
                    raise UserError(f"{path} holds values from {pixels.min()} to {pixels.max()}; expected 0 to 65535")
                return pixels.astype(np.uint8 if pixels.dtype.itemsize == 1 else np.uint16)
            if image.mode not in ("RGB", "RGBA", "LA"):
                raise UserError(f"{path} has pixels of mode {image.mode!r}; expected one band of whole numbers")
            bands = np.array(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is not a mask that Pillow can read. Expected one band as PNG or TIFF") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is truncated or damaged ({error}). Copy or download it again") from error
    if (bands != bands[..., :1]).any():
        raise UserError(f"{path} holds colours, where pixel values were expected: read it with a palette (ColourMap)")
    return bands[..., 0]


def fitting(mask: np.ndarray, what: str, image: Path | None) -> np.ndarray:
    """``mask``, or a `UserError` when it is not of the picture's size; reads the header of the picture alone."""
    if image is not None:
        try:
            with Image.open(image) as picture:
                width, height = picture.size
                if picture.getexif().get(0x0112, 1) > 4:  # lies on its side: `load_image` sets it upright
                    width, height = height, width
        except OSError as error:
            raise UserError(f"{image} cannot be opened to compare its size with {what}: {error}") from error
        if mask.shape != (height, width):
            raise UserError(
                f"{what} has {mask.shape[1]} x {mask.shape[0]} pixels, its image {image} {width} x {height}. "
                "They are not of one release, or one of them was resized: download them again"
            )
    return mask


def _too_large(path: Path) -> UserError:
    return UserError(f"{path} has more than {MAX_PIXELS:,} pixels, too many to decode whole. Cut it into tiles first")
