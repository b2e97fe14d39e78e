"""Pictures that Pillow decodes, and how large a picture may be."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rsmoe.errors import UserError
from rsmoe.geo.file_format import grey_levels

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
"""What Pillow may decode: others start programs (EPS runs Ghostscript). TIFF and JPEG 2000 are GDAL's, see
`rsmoe.geo.file_format`."""

MAX_PIXELS = 100_000_000
"""Largest picture that is decoded whole: 300 MB as uint8 RGB. A larger one is a scene to cut, or an attack."""


@contextmanager
def open_picture(file: Path | bytes, name: str, *, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """A picture whose header is read; whatever fails here or inside of the ``with`` is one `UserError`.

    Args:
        file: where it is, or its bytes.
        name: what it is called in messages.
        formats: what Pillow may decode, of `FORMATS`.

    Raises:
        UserError: for a file that is missing, empty, truncated, not an image, or larger than `MAX_PIXELS`.
    """
    require_file_with_bytes(file, name)
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=formats) as image:
            require_pixels(image.width, image.height, name)
            yield image
    except UserError:
        raise
    except UnidentifiedImageError as error:
        known = ", ".join(sorted((*formats, "TIFF", "JPEG 2000")) if formats is FORMATS else formats)
        raise UserError(f"{name} is not a picture that can be read. Expected one of {known}") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name} is truncated or damaged ({error}). Copy or download it again") from error


def require_file_with_bytes(file: Path | bytes, name: str) -> None:
    """Raises a `UserError` for a path without a file, or with an empty one."""
    if isinstance(file, Path) and not file.is_file():
        raise UserError(f"no image file {name}")
    if isinstance(file, Path) and file.stat().st_size == 0:
        raise UserError(f"{name} is empty (0 bytes). Copy or download it again")


def require_pixels(width: int, height: int, name: str) -> None:
    """Raises a `UserError` for more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise _too_large(name)


def decode_with_pillow(file: Path | bytes, name: str, *, blank: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """Decodes one picture; arguments, result and errors as `rsmoe.data.rasters.images.decode_picture`."""
    with open_picture(file, name) as image:
        ImageOps.exif_transpose(image, in_place=True)
        valid = _opaque(image, file)
        rgb = image if image.mode == "RGB" else image.convert("RGB")  # of the same mode, it would copy
        # band after band in memory, as tensors want it: to part interleaved bands costs a fifth of a JPEG's decoding
        planes = np.empty((3, rgb.height, rgb.width), dtype=np.uint8)
        for plane, band in zip(planes, "RGB", strict=True):
            plane[:] = np.frombuffer(rgb.tobytes("raw", band), np.uint8).reshape(plane.shape)
        if valid is not None and blank:
            planes[:, ~valid] = 0
        return planes.transpose(1, 2, 0), valid


def _opaque(image: Image.Image, file: Path | bytes) -> np.ndarray | None:
    """(H, W) bool: where alpha, or what a file has instead of it, is not 0; None for everywhere."""
    if not image.has_transparency_data:
        return None
    key, levels = image.info.get("transparency"), grey_levels(file)
    if isinstance(key, int) and levels is not None:  # Pillow spreads the pixels over 0 to 255, the key of 1 bit alone
        opaque = np.asarray(image.convert("L")) != min(key, levels - 1) * (255 // (levels - 1))
    else:
        opaque = np.asarray(image.convert("RGBA").getchannel("A")) > 0
    return None if opaque.all() else opaque


def _too_large(name: str) -> UserError:
    return UserError(
        f"{name} has more than {MAX_PIXELS:,} pixels, too many to decode whole. Cut it into tiles first: "
        "gdal_translate -srcwin left top width height in.tif tile.tif"
    )
