"""Rasters of which nothing is declared, decoded whole: as pictures, and as the labels that they store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsmoe.geo.info import read_info
from rsmoe.geo.opening import opened
from rsmoe.geo.pictures import require_pixels
from rsmoe.geo.raster import RasterSource, upright


def decode_raster(file: Path | bytes, name: str, *, blank: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """A raster that nothing is declared of, as a picture: all its bands, or its only one three times.

    Args:
        file: where it is, or its bytes.
        name: what it is called in messages.
        blank: whether pixels without data are 0, or as stored.

    Returns:
        (H, W, C) uint8, and the (H, W) bool mask of pixels with data; None where all hold some.

    Raises:
        UserError: as `RasterSource.read`.
    """
    source, content = RasterSource(path=Path(name)), file if isinstance(file, bytes) else None
    with opened(file, name) as dataset:
        pixels, valid = source.decode(dataset, read_info(dataset, source.path, content=content), blank=blank)
    if pixels.shape[2] == 1:
        pixels = np.concatenate([np.moveaxis(pixels, -1, 0)] * 3).transpose(1, 2, 0)  # each band in one piece
    return pixels, None if valid.all() else valid


def read_labels(path: Path) -> tuple[np.ndarray, int]:
    """(H, W, C) values of a raster as they are stored, and the bits of each: a palette's indices, not its colours, and
    no band of alpha. White-is-zero is turned, so that the greatest value is white.

    Raises:
        UserError: as `RasterSource.read`.
    """
    with opened(path) as file:
        info = read_info(file, path)
        require_pixels(info.width, info.height, str(path))
        stored = np.moveaxis(file.read([i for i, c in enumerate(file.colorinterp, 1) if c.name != "alpha"]), 0, -1)
    if info.white_is_zero:
        stored = (1 << info.bits) - 1 - stored
    return upright(stored, info.orientation), info.bits
