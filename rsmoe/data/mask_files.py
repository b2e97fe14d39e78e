"""Files whose pixel values are labels, and their agreement with the picture that they lie on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ImageOps

from rsmoe.data.file_format import grey_levels, raster_drivers
from rsmoe.data.images import decode_picture, open_picture, picture_size, require_file_with_bytes
from rsmoe.errors import UserError


def read_indices(path: Path) -> np.ndarray:
    """(H, W) bool, uint8 or uint16 pixel values of a file with one band: bool where a pixel has one bit.

    It stands upright, as its picture does. A paletted file gives its indices, not its colours; 2 and 4 bits are values
    as stored, not spread over 0 to 255; alpha and nodata are no matter; three equal bands count as one; floats have to
    be whole numbers. White-is-zero is turned, so that white is the greatest value.

    Raises:
        UserError: for a file that is missing, truncated, no picture, too large (`rsmoe.data.images.MAX_PIXELS`),
            coloured, or with values that are no whole numbers of 16 bits.
    """
    require_file_with_bytes(path, str(path))
    if raster_drivers(path):
        from rsmoe.geo.raster import read_labels

        bands, bits = read_labels(path)
    else:
        bands, bits = _of_picture(path)
    if bands.shape[2] > 1 and (bands != bands[..., :1]).any():
        raise UserError(f"{path} holds colours, where pixel values were expected: read it with a palette (ColourMap)")
    pixels = bands[..., 0]
    if pixels.dtype.kind == "f":
        wrong = pixels[~(pixels == np.round(pixels))]
        if wrong.size:
            raise UserError(f"{path} holds the value {wrong[0]:g}; expected whole numbers from 0 to 65535")
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise UserError(f"{path} holds values from {pixels.min()} to {pixels.max()}; expected 0 to 65535")
    if bits == 1:
        return pixels.astype(bool)
    return pixels.astype(np.uint8 if pixels.dtype.itemsize == 1 else np.uint16)


def read_colours(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 colours of a file, upright, palettes applied; alpha and nodata are no matter.

    Raises:
        UserError: as `rsmoe.data.images.load_image`, and for more bands.
    """
    pixels, _ = decode_picture(path, str(path), blank=False)
    if pixels.shape[2] != 3:
        raise UserError(f"{path} has {pixels.shape[2]} bands; expected the red, green and blue of a class map")
    return pixels


def _of_picture(path: Path) -> tuple[np.ndarray, int]:
    """(H, W, C) uint8 values as stored, and the bits of each."""
    with open_picture(path, str(path)) as image:
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("1", "P", "L"):
            levels = (grey_levels(path) if image.mode == "L" else None) or 256
            return np.array(image, dtype=np.uint8)[..., None] // (255 // (levels - 1)), 1 if image.mode == "1" else 8
        if image.mode not in ("RGB", "RGBA", "LA", "PA"):
            raise UserError(f"{path} has pixels of mode {image.mode!r}; expected one band of whole numbers")
        return np.array(image.convert("RGB")), 8


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
