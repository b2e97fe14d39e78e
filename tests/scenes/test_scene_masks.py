"""Requests for masks on generated scenes: as many [SEG] as targets, and exact masks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from rsmoe.data.change.phrases import plural
from rsmoe.errors import UserError
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.scenes.release import BLOCK
from rsmoe.scenes.scene_masks import MOST, SMALLEST_PX, SceneMasks


def test_requests_for_masks_say_how_many_there_are() -> None:
    """One [SEG] a target, each mask the pixels of one thing of the kind; none has one [SEG] and an empty mask."""
    data = SceneMasks(split="test", scenes={"test": 34}, requests=3, size_px=64)
    assert len(data) == 102 and data[-1].id == data[101].id
    counts: Counter[int] = Counter()
    for row in range(len(data)):
        sample = data[row]
        assert isinstance(sample.mask, np.ndarray)
        assert sample.kind in sample.responses[0] or plural(sample.kind) in sample.responses[0]
        found = [int(mask.sum()) for mask in sample.masks] or [int(sample.mask.sum())]
        assert sample.responses[0].count("[SEG]") == len(found)
        assert (min(found) >= SMALLEST_PX) == (not sample.responses[0].startswith("there is no "))
        assert len(found) == 1 or np.array_equal(np.sum(sample.masks, axis=0), sample.mask)  # no pixel of two
        counts[len(found) if sample.mask.any() else 0] += 1
        if "every" not in sample.instruction:
            assert len(found) == 1 and found[0]
    assert counts[0] and counts[1] and sum(counts[k] for k in range(2, MOST + 1)) > 10


def test_every_thing_of_a_kind_is_marked() -> None:
    """Of the colour that was said, where one was; the scene knows."""
    generator = SceneGenerator(size_px=64)
    data = SceneMasks(split="train", scenes={"train": 40}, requests=1, asks=["every"], size_px=64)
    images = {generator.scene(i).image.tobytes(): generator.scene(i) for i in range(2 * BLOCK)}
    colored = 0
    for sample in (data[i] for i in range(len(data))):
        scene = images[np.asarray(sample.images[0]).tobytes()]
        color = sample.instruction.split(" every ")[1].removesuffix(f"{sample.kind}.").strip()
        colored += bool(color)
        things = [o for o in scene.objects if o.category == sample.kind and color in ("", o.color)]
        assert np.array_equal(sample.mask, np.isin(scene.instances, [o.instance for o in things]))
        assert len(sample.masks) == (len(things) if len(things) > 1 else 0)
    assert colored > 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": "x"}, "leave data.root out"),
        ({"asks": ["each"]}, "request for masks 'each'"),
        ({"asks": []}, "asks is empty"),
        ({"split": "val"}, "split of scene_masks 'val'"),
    ],
)
def test_requests_for_masks_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SceneMasks(**{"split": "train", "scenes": {"train": 2}, **options})
