"""Which class every pixel of a generated scene is of."""

from __future__ import annotations

import numpy as np

from rsmoe.scenes.generator import OBJECT_CLASSES
from rsmoe.scenes.scene import LAND_COVER, Scene

MAP_CLASSES: tuple[str, ...] = (
    *(f"{name} ground" if name == "building" else name for name in LAND_COVER),
    *OBJECT_CLASSES,
)
"""Names of the values of `class_map`: land cover, then what is countable. "building ground" is what is built and is no
countable thing, such as the rest of a house at the border of the picture."""


def class_map(scene: Scene) -> np.ndarray:
    """(H, W) uint8 index into `MAP_CLASSES`: the class of the object that a pixel shows, else its land cover."""
    of_object = np.zeros(1 + max((o.instance for o in scene.objects), default=0), dtype=np.uint8)
    for thing in scene.objects:
        of_object[thing.instance] = len(LAND_COVER) + OBJECT_CLASSES.index(thing.category)
    return np.where(scene.instances > 0, of_object[scene.instances], scene.semantic)
