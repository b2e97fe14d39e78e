"""SECOND-CC: change captions with a semantic map of each date."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rsmoe.data.rasters.class_map_sources import ColourMap
from rsmoe.data.rasters.transition_map import TransitionMap, transition_names
from rsmoe.data.readers.captioned_pairs import CaptionedPairs
from rsmoe.data.sample import Lazy

LAND = {
    "water": (0, 0, 255),
    "ground": (128, 128, 128),
    "low vegetation": (0, 128, 0),
    "tree": (0, 255, 0),
    "building": (128, 0, 0),
    "sports field": (255, 0, 0),
}
"""Classes of a semantic map and their colours: those of SECOND, as Open-CD's ``second.py`` has them."""

_WHITE = (255, 255, 255)


class SecondCC(CaptionedPairs):
    """Pairs with five sentences each, and what each changed pixel was before and after.

    ``maps`` names the folders "sem_before" and "sem_after" of RGB maps; white is no change (MModalCC's own preparation
    recodes it to black), a colour that is none of `LAND` or white is an error. ``Sample.class_map`` is a
    `TransitionMap` of the two: 0 no change, 1 .. 36 one class to another, named in ``classes``. The two semantic maps
    are not in ``meta``, where no crop or mirror would reach them. With "mask" in ``tasks`` each pair also gives a
    sample that asks for everything that changed.
    """

    classes = transition_names(tuple(LAND))

    def _class_map(self, files: Mapping[str, Path]) -> Lazy:
        palette = (_WHITE, *LAND.values())
        before, after = (
            ColourMap(files[role], palette, (), image=files["before"]) for role in ("sem_before", "sem_after")
        )
        return TransitionMap(before, after, len(LAND))
