"""Where a change lies, in LEVIR-CC's words: in the picture, on which ground, beside the road; "" where none is true."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from rsmoe.data.change.cells import cell_at
from rsmoe.scenes.scene import LAND_COVER, Change, Scene, ScenePair

_CELLS = (
    ("in the upper left corner", "in the top left corner", "at the top left corner"),
    ("at the top",),
    ("in the upper right corner", "in the top right corner", "at the top right corner"),
    ("on the left side", "on the left"),
    ("in the middle", "in the center"),
    ("on the right side", "on the right"),
    ("in the bottom left corner", "at the bottom left corner", "in the lower left corner"),
    ("at the bottom",),
    ("in the bottom right corner", "at the bottom right corner", "in the lower right corner"),
)
_ON = {
    "bare land": ("on the bareland", "on the bareland", "in the bareland", "on bareland"),
    "grass": ("on the grass", "in the meadow", "on the grassland"),
    "forest": ("in the woods", "in the forest"),
    "water": ("on the water",),
    "farmland": ("in the field", "on the farmland"),
    "sand": ("on the sand",),
    "rock": ("on the rocks",),
}
_BESIDE = ("beside the road", "next to the road", "near the road")
_ALONG = ("beside the road", "along the road", "along the road")
_NEAR = 0.08
"""Share of the picture's side within which the road is beside a thing."""


def cell_phrase(pair: ScenePair, changes: Sequence[Change], rng: random.Random) -> str:
    """ "in the top left corner of the scene"; "" for changes in several cells, or one that fills many."""
    height, width = pair.change_mask.shape
    middles = [((c.box_px[0] + c.box_px[2]) / 2, (c.box_px[1] + c.box_px[3]) / 2) for c in changes]
    cells = {cell_at(x, y, width, height) for x, y in middles}
    large = any((c.box_px[2] - c.box_px[0]) * (c.box_px[3] - c.box_px[1]) > 0.3 * height * width for c in changes)
    if len(cells) > 1 or large:
        return ""
    return rng.choice(_CELLS[cells.pop()]) + rng.choice((" of the scene", " of the scene", ""))


def ground_of(pair: ScenePair, changes: Sequence[Change]) -> str:
    """Most of what lay under the built, or now lies under the vanished; "" where no natural cover is most of it."""
    scene = pair.before if changes[0].action == "built" else pair.after
    under = np.concatenate([_inside(pair, scene.semantic, change) for change in changes])
    counts = np.bincount(under, minlength=len(LAND_COVER))
    name = LAND_COVER[int(counts.argmax())]
    return name if under.size and counts.max() >= 0.7 * under.size and name in _ON else ""


def ground_phrase(pair: ScenePair, ground: str, rng: random.Random) -> str:
    """ "on the bareland", "in the woods"; "" for no ``ground``."""
    if ground in ("bare land", "sand") and pair.before.scene_class == "desert":
        return rng.choice(("in the desert", *_ON[ground]))
    return rng.choice(_ON[ground]) if ground else ""


def road_phrase(pair: ScenePair, changes: Sequence[Change], rng: random.Random) -> str:
    """ "beside the road", "along the road", "on both sides of the road"; "" where the road is not beside all of them.

    The road is that of the second date. Both sides are said of a single straight road alone.
    """
    scene = pair.after
    if any(change.category == "road" or not _beside_road(scene, change) for change in changes):
        return ""
    if len(changes) == 1:
        return rng.choice(_BESIDE)
    both = len(_sides_of_road(scene, changes)) > 1
    return "on both sides of the road" if both else rng.choice(_ALONG)


def _beside_road(scene: Scene, change: Change) -> bool:
    near = max(2, round(_NEAR * scene.semantic.shape[1]))
    x1, y1, x2, y2 = (round(v) for v in change.box_px)
    around = scene.semantic[max(0, y1 - near) : y2 + near, max(0, x1 - near) : x2 + near]
    return bool((around == LAND_COVER.index("road")).sum() >= near)


def _sides_of_road(scene: Scene, changes: Sequence[Change]) -> set[bool]:
    """On which sides of the road the changes lie; none where the road is not one straight band."""
    rows, columns = np.nonzero(scene.semantic == LAND_COVER.index("road"))
    middle = np.array([columns.mean(), rows.mean()])
    points = np.stack([columns, rows], 1) - middle
    spread, axes = np.linalg.eigh(points.T @ points / len(points))
    if spread[0] > (0.06 * scene.semantic.shape[1]) ** 2 or spread[1] < 9 * spread[0]:
        return set()
    centres = [((c.box_px[0] + c.box_px[2]) / 2, (c.box_px[1] + c.box_px[3]) / 2) for c in changes]
    return {bool((np.array(centre) - middle) @ axes[:, 0] > 0) for centre in centres}


def _inside(pair: ScenePair, semantic: np.ndarray, change: Change) -> np.ndarray:
    x1, y1, x2, y2 = (round(v) for v in change.box_px)
    return semantic[y1:y2, x1:x2][pair.change_mask[y1:y2, x1:x2] == change.mask_value]
