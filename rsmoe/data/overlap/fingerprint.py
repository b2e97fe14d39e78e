"""What identifies a picture: its bytes, its pixels, and a thumbnail that survives another encoding or size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rsmoe.data.rasters.images import load_image
from rsmoe.data.sample import Lazy

SIDE = 64
"""Side of a thumbnail: texture of 1/10 of the picture is still in it, the blocks of a JPEG are not."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Equal hashes mean equal pictures; thumbnails are compared by `rsmoe.data.overlap.near_duplicates`."""

    file: str
    """Hash of the file as it is; "" for an array."""
    pixels: str
    """Hash of the decoded pixels and their shape."""
    thumbnail: np.ndarray
    """(SIDE, SIDE) float16 grey values 0-255 of the largest centred square."""


def fingerprint(source: Path | np.ndarray | Lazy) -> Fingerprint:
    """Reads and decodes one picture once.

    The centred square keeps the aspect ratio, so that a copy cut on one side only is not stretched. Grey is the mean of
    the first three bands.

    Raises:
        UserError: when it cannot be read, see `rsmoe.data.rasters.images.load_image`.
    """
    pixels = load_image(source)
    grey = Image.fromarray(pixels[..., :3].mean(axis=-1, dtype=np.float32))
    side = min(grey.size)
    left, top = (grey.width - side) / 2, (grey.height - side) / 2
    small = grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return Fingerprint(
        file=_hash(source.read_bytes()) if isinstance(source, Path) else "",
        pixels=hash_of_pixels(pixels),
        thumbnail=np.asarray(small).clip(0, 255).astype(np.float16),
    )


def hash_of_pixels(pixels: np.ndarray) -> str:
    """Of a decoded picture and its shape."""
    return _hash(f"{pixels.shape}".encode() + pixels.tobytes())


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
