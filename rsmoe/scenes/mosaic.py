"""Pictures of several generated scenes, side by side, for looking one of them up by a sentence."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from rsmoe.scenes.generator import SCENE_CLASSES, SceneGenerator
from rsmoe.scenes.language.captions import short_captions
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.release import split_range

SIDE = 4
"""Scenes along each side: 16 of the 17 classes, each once."""


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """A picture of 4 x 4 scenes, and a sentence that is true of one of them."""

    picture: np.ndarray
    """(4 S, 4 S, C) uint8, of scenes of S pixels."""
    sentence: str
    """A caption of the scene that is looked for, with the name of its class."""
    scene_class: str
    region: np.ndarray
    """(4, 2) ``x y`` corners of that scene."""


def mosaic(split: str, number: int, *, size_px: int = 96, seed: int = 0) -> Mosaic:
    """Mosaic ``number`` of a split: of a block of scenes that holds every class once, the first 16 in random order."""
    classes = len(SCENE_CLASSES)
    scenes = split_range(split, classes * (number + 2))
    first = -(-scenes.start // classes) + number  # blocks of the generator begin at multiples of their size
    rng = random.Random(f"{seed}/{split}/{number}/mosaic")
    chosen = rng.sample(range(first * classes, (first + 1) * classes), SIDE * SIDE)
    generator = SceneGenerator(size_px=size_px, seed=seed)
    shown = [generator.scene(index) for index in chosen]
    rows = [np.concatenate([s.image for s in shown[k : k + SIDE]], axis=1) for k in range(0, SIDE * SIDE, SIDE)]
    place = rng.randrange(SIDE * SIDE)
    top, left = (size_px * k for k in divmod(place, SIDE))
    captions, name = short_captions(SceneFacts(shown[place]), rng), shown[place].scene_class
    corners = [(0, 0), (size_px, 0), (size_px, size_px), (0, size_px)]
    return Mosaic(
        picture=np.concatenate(rows),
        sentence=next((text for text in captions if name in text), f"this is a {name} ."),
        scene_class=name,
        region=np.array([(left + x, top + y) for x, y in corners], np.float64),
    )
