"""LEVIR-MCI: LEVIR-CC with masks of the roads and buildings that changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rsmoe.data.rasters.class_map_sources import IndexMap
from rsmoe.data.readers.captioned_pairs import CaptionedPairs
from rsmoe.data.sample import Lazy


class LevirMCI(CaptionedPairs):
    """The pairs and captions of LEVIR-CC, and for each its semantic change map.

    ``maps`` names the folder "label": PNGs of the images' size, 0 no change, 128 road, 255 building, in one band or in
    three equal ones; any other value is an error. Every sample has ``class_map`` and ``classes``; with "mask" in
    ``tasks`` each pair also gives a sample that asks for everything that changed, empty for most unchanged pairs.
    `rsmoe.data.change.facts.facts_of_sample` counts and places the changes of a sample.
    """

    classes = ("no change", "road", "building")

    def _class_map(self, files: Mapping[str, Path]) -> Lazy:
        return IndexMap(files["label"], {0: 0, 128: 1, 255: 2}, ignore=(), image=files["before"])
