"""Files whose pixel values are labels, and their agreement with the picture that they lie on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ImageOps

from rsmoe.data.rasters.images import decode_picture, picture_size
from rsmoe.errors import UserError
from rsmoe.geo.file_format import grey_levels, raster_drivers
from rsmoe.geo.pictures import open_picture, require_file_with_bytes


def read_indices(path: Path) -> np.ndarray:
    """(H, W) bool, uint8 or uint16 pixel values of a file with one band: bool where a pixel has one bit.

    It stands upright, as its picture does. A paletted file gives its indices, not its colours; 2 and 4 bits are values
    as stored, not spread over 0 to 255; alpha and nodata are no matter; three equal bands count as one; floats have to
    be whole numbers. White-is-zero is turned, so that white is the greatest value.

    Raises:
        UserError: for a file that is missing, truncated, no picture, too large
            (`rsmoe.geo.pictures.MAX_PIXELS`), coloured, or with values that are no whole numbers of 16 bits.
    """
    require_file_with_bytes(path, str(path))
    if raster_drivers(path):
        from rsmoe.geo.whole_raster import read_labels

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


def read_shades(path: Path) -> np.ndarray:
    """`read_indices`, but of a palette of greys, the darkest of them black, its greys: ``Image.quantize`` gives white
    the index 0. What anybody sees as white is the mask, as in a file that says white-is-zero.
    """
    pixels = read_indices(path)
    if pixels.dtype == bool or not _is_paletted(path):
        return pixels
    colours = read_colours(path)
    shades = colours[..., 0]
    grey = (colours == shades[..., None]).all()
    return shades if grey and shades.min() == 0 < shades.max() else pixels


def is_lossy(path: Path) -> bool:
    """Whether the compression of a file changes its values: JPEG, also inside of a TIFF, and lossy WebP."""
    with path.open("rb") as file:
        head = file.read(16)
    if raster_drivers(path) == ("GTiff",):
        from rsmoe.geo.opening import opened

        with opened(path) as dataset:
            return str(dataset.profile.get("compress", "")).lower() == "jpeg"
    return head.startswith(b"\xff\xd8") or (head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8 ")


def require_lossless(path: Path) -> None:
    """Raises a `UserError` for a file of labels that `is_lossy`."""
    require_file_with_bytes(path, str(path))
    if is_lossy(path):
        raise UserError(
            f"{path} is compressed as a photograph (JPEG), which changes its values: what class a pixel had is lost. "
            "Give the labels in PNG or TIFF, as they were first written"
        )


def read_colours(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 colours of a file, upright, palettes applied; alpha and nodata are no matter.

    Raises:
        UserError: as `rsmoe.data.rasters.images.load_image`, and for more bands.
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
        bands = np.array(image.convert("RGB"))
        if image.mode != "RGB" and (bands == bands[0, 0]).all() and np.ptp(np.array(image.getchannel("A"))):
            raise UserError(
                f"{path} is of one colour, and its shape is in its transparency, where no value is looked for. Save "
                f"that as the mask: python -c \"from PIL import Image; Image.open('{path}').getchannel('A')."
                "save('mask.png')\""
            )
        return bands, 8


def _is_paletted(path: Path) -> bool:
    if raster_drivers(path):
        from rsmoe.geo.info import open_raster

        return open_raster(path).palette
    with open_picture(path, str(path)) as image:
        return image.mode == "P"


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
