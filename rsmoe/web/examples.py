"""Pictures to try the page with: generated scenes, as GeoTIFFs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from rsmoe.scenes.generator import SceneGenerator

NAMES = ("scene", "before", "after")
_SCENE, _PAIR = 10, 5
"""Numbers of a picture and of two dates."""
_SIDE = 256


@lru_cache(maxsize=len(NAMES))
def example(name: str) -> bytes:
    """One of `NAMES` as a GeoTIFF; the place is made up, for scenes lie nowhere, the size of a pixel is theirs."""
    from rasterio import Affine
    from rasterio.io import MemoryFile

    scenes = SceneGenerator(size_px=_SIDE, seed=3)
    scene = scenes.scene(_SCENE) if name == "scene" else getattr(scenes.pair(_PAIR), name)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=_SIDE, height=_SIDE, count=3, dtype="uint8", photometric="RGB", compress="deflate",
            crs="EPSG:32632", transform=Affine(scene.gsd_m, 0, 690_000, 0, -scene.gsd_m, 5_335_000),
        ) as file:  # fmt: skip
            file.write(np.moveaxis(scene.image, -1, 0))
        return bytes(memory.read())
