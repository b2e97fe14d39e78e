"""An archive of coloured pictures, and a model that finds them by the names of colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from rsmoe.archive.tile_store import TileStore
from rsmoe.commands import index

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220), "white": (230, 230, 230)}
UTM = (10.0, 0.0, 5e5, 0.0, -10.0, 5e6)


class ColourEmbedder:
    """Pictures by their mean colour, words by the colour that they name."""

    fingerprint, bands, dim = "c0105", 3, 3

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.stop_after = 10**9

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        if sum(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(len(images))
        return unit(np.stack([image.reshape(-1, 3).mean(0) - 110 for image in images]))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return unit(np.array([COLOURS[text] for text in texts], np.float32) - 110)

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in text.split() if word not in COLOURS]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def paint(path: Path, colour: str, size: tuple[int, int] = (24, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), COLOURS[colour], np.uint8)).save(path)
    return path


def raster(path: Path, pixels: np.ndarray, *, crs: str = "EPSG:32632", transform: Any = UTM, **more: Any) -> Path:
    high, wide, bands = pixels.shape
    options = {"driver": "GTiff", "height": high, "width": wide, "count": bands, "dtype": pixels.dtype, "crs": crs}
    with rasterio.open(path, "w", **options, transform=rasterio.Affine(*transform), photometric="RGB", **more) as file:
        file.write(np.moveaxis(pixels, -1, 0))
    return path


def indexed(folder: Path, out: Path, *more: str) -> None:
    index.cli([f"images={folder}", f"out={out}", "tile=32", "overlap=0", "batch_size=4", *more])


def refused(command: Any, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        command.cli(list(words))
    said = str(stop.value.code)
    assert said.startswith("error: ") and "\n" not in said and len(said) < 900
    return said


def found(store: Path, text: str, **options: Any) -> list[Any]:
    query = ColourEmbedder().embed_texts([text])[0]
    return TileStore.open(store).search(query, **{"limit": 3, **options})
