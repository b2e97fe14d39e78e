"""SECOND-CC: change captions with a semantic map of each date."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rsmoe.data.rasters.mask_sources import ColourMap
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
    `TransitionMap` of the two: 0 no change, 1 .. 36 one class to another, named in ``classes``. The two semantic
    maps are not in ``meta``, where no crop or mirror would reach them. With "mask" in ``tasks`` each pair also gives a
    sample that asks for everything that changed.

    6,041 pairs of 256 px, 30,205 sentences, 28 kinds of change; splits train, val, test in the json ("SECOND-CC-AUG",
    an augmented variant, has more rows). Images of SECOND (Yang et al., TGRS 2022), RGB, 0.5 to 3 m. Karaca et al.,
    "Robust Change Captioning in Remote Sensing: SECOND-CC Dataset and MModalCC Framework", JSTARS 2025,
    doi:10.1109/JSTARS.2025.3600613, arXiv:2501.10075; https://github.com/ChangeCapsInRS/SecondCC, Zenodo
    10.5281/zenodo.16937571; licence as on Zenodo. Arguments, attributes and errors as `CaptionedPairs`.
    """

    classes = transition_names(tuple(LAND))

    def _class_map(self, files: Mapping[str, Path]) -> Lazy:
        palette = (_WHITE, *LAND.values())
        before, after = (
            ColourMap(files[role], palette, (), image=files["before"]) for role in ("sem_before", "sem_after")
        )
        return TransitionMap(before, after, len(LAND))
