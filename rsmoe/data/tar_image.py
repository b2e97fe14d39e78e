"""A picture inside a tar file, read without unpacking it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rsmoe.data import images
from rsmoe.errors import UserError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What is decoded. Pillow knows more, some by running other programs (EPS): not for bytes from the web."""

_EIGHT_BIT = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}


@dataclass(frozen=True)
class TarImage:
    """The encoded picture at ``offset`` of a tar file: a `rsmoe.data.sample.Lazy` image.

    Args:
        path: the tar file, not compressed.
        offset: where the picture's first byte is.
        size: how many bytes it has.
        name: what it is called in messages.
    """

    path: Path
    offset: int
    size: int
    name: str

    @property
    def key(self) -> str:
        """The tar file and the place in it."""
        return f"{self.path}@{self.offset}+{self.size}"

    def read(self) -> np.ndarray:
        """(H, W, 3) uint8, upright by its EXIF orientation.

        Raises:
            UserError: for a tar file that is gone or shorter than it was, and for bytes that are no picture of 8 bits
                a band, are truncated, or hold more than `MAX_PIXELS` pixels.
        """
        place = f"{self.name} in {self.path}"
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error.strerror}). Put the shard back") from error
        if len(content) < self.size:
            raise UserError(f"{place} is cut off: {len(content)} of {self.size} bytes. Download the shard again")
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > images.MAX_PIXELS:
                    raise UserError(f"{place} has more than {images.MAX_PIXELS:,} pixels, too many to decode")
                if image.mode not in _EIGHT_BIT:
                    raise UserError(f"{place} has pixels of mode {image.mode!r}; expected 8 bits a band")
                return np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except UserError:
            raise
        except Image.DecompressionBombError as error:
            raise UserError(f"{place} has more than {images.MAX_PIXELS:,} pixels, too many to decode") from error
        except UnidentifiedImageError as error:
            raise UserError(f"{place} is not a picture; expected one of {', '.join(FORMATS)}") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{place} is truncated or damaged ({error}; {self.size} bytes)") from error
