"""What is searched for, as a vector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.archive import Embedder
from rsmoe.archive.picture import Picture
from rsmoe.archive.source_tiles import SourceTiles
from rsmoe.errors import UserError


def query_vector(embedder: Embedder, *, text: str | None, image: str | None, raster: Mapping[str, Any]) -> np.ndarray:
    """(dim,) of length 1: of words, of a picture, or halfway between the two.

    Args:
        image: a file; all of it is one tile.
        raster: options of `rsmoe.geo.RasterSource`, for a raster.

    Raises:
        UserError: neither of the two, a text without a word, a picture that cannot be read or holds no data.
    """
    found = []
    if text is not None:
        found.append(embedder.embed_texts([text])[0])
    if image is not None:
        tiles = SourceTiles(Picture.of(Path(image)), bands=embedder.bands, raster=raster, side=0, overlap=0)
        pixels = tiles.cut(tiles.windows[0])
        assert pixels is not None  # read_dates refuses a picture without data
        found.append(embedder.embed_images([pixels])[0])
    if not found:
        raise UserError('give words or image=..., or both: rsmoe search "a harbour with ships" store=...')
    total: np.ndarray = np.sum(found, axis=0)
    return total / max(float(np.linalg.norm(total)), 1e-12)
