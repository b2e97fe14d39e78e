"""Boxes that are asked for and regions that are asked about on generated scenes, against the scenes themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rsmoe.data.boxes import parse
from rsmoe.data.boxes.region import REGION
from rsmoe.data.change.phrases import with_article
from rsmoe.data.sample import Sample
from rsmoe.data.transforms.regions import pointed
from rsmoe.errors import UserError
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.scenes.release import BLOCK, split_range
from rsmoe.scenes.scene import Scene, SceneObject
from rsmoe.scenes.scene_regions import MOST, SceneRegions

SCENES = 24
SIDE = (64, 64)


def data(*asks: str, **more: Any) -> SceneRegions:
    return SceneRegions(split="test", scenes={"test": SCENES}, requests=len(asks), asks=asks, **more)


@pytest.fixture(scope="module")
def scenes() -> dict[bytes, Scene]:
    generator = SceneGenerator(size_px=64)
    first = split_range("test", SCENES).start
    drawn = [generator.scene(first + i) for i in range(-(-SCENES // BLOCK) * BLOCK)]
    return {scene.image.tobytes(): scene for scene in drawn}


def each(rows: SceneRegions, scenes: dict[bytes, Scene]) -> Iterator[tuple[Sample, Scene]]:
    for sample in (rows[i] for i in range(len(rows))):
        yield sample, scenes[np.asarray(sample.images[0]).tobytes()]


def test_answers_are_the_boxes_of_the_scene(scenes: dict[bytes, Scene]) -> None:
    """Every box of an answer, within half a percent, is that of a thing of the kind; of "every", of all of them."""
    counts: Counter[int] = Counter()
    for sample, scene in each(data("one", "every"), scenes):
        things = [o for o in scene.objects if o.category == sample.kind]
        boxes = parse(sample.responses[0], convention="skyeye", size_px=SIDE).boxes
        counts[len(boxes)] += 1
        assert sample.boxes_px is not None and len(boxes) == len(sample.boxes_px) == len(sample.labels) <= MOST
        if not len(boxes):
            assert not things and sample.responses == (f"there is no {sample.kind} here",)
        true = np.array([o.box_px for o in things]).reshape(-1, 4)
        assert all(np.abs(true - box).max(axis=1).min() <= 0.33 for box in boxes)
        if "every" in sample.instruction:
            assert len(boxes) == len(things)
    assert counts[0] > 1 and counts[1] > SCENES and counts[2] + counts[3]


def test_oriented_boxes_are_those_of_the_scene(scenes: dict[bytes, Scene]) -> None:
    rows = data("oriented")
    assert rows.protocols == {"ground": "ground/obb@1"} and data("one", "oriented").protocols == {}
    for sample, scene in each(rows, scenes):
        (box,) = parse(sample.responses[0], convention="geochat_clockwise", size_px=SIDE).boxes
        middles = [np.mean(o.obb_px, axis=0) for o in scene.objects if o.category == sample.kind]
        assert min(np.abs(middle - box[:2]).max() for middle in middles) < 0.7


def test_every_phrase_of_a_caption_has_its_box() -> None:
    several = 0
    for sample in (row for row in (data("phrases")[i] for i in range(SCENES))):
        phrases = sample.meta["phrases"]
        several += len(phrases) > 1
        assert all(phrase in sample.instruction for phrase in phrases)
        said = [part.split("</p>")[0] for part in sample.responses[0].split("<p>")[1:]]
        assert tuple(said) == phrases and sample.boxes_px is not None and len(sample.boxes_px) == len(phrases)
    assert several > 2


def test_a_region_is_one_thing_and_the_answer_is_about_it(scenes: dict[bytes, Scene]) -> None:
    kinds: Counter[str] = Counter()
    for sample, scene in each(data("caption", "category", "colour", "conversation"), scenes):
        thing = pointed_at(sample, scene)
        kinds[sample.kind] += 1
        assert sample.history or REGION in sample.instruction
        words = pointed(sample)
        assert "{<" in words.instruction + "".join(question for question, _ in words.history)
        if sample.history:
            assert sample.history[0][1] == thing.category
        if sample.task == "vqa":
            assert sample.responses == ({"colour": thing.color, "category": thing.category}[sample.kind],)
        else:
            named = with_article(f"{thing.color} {thing.category}".strip())
            assert len(sample.responses) == 3 and all(named in text for text in sample.responses)
    assert min(kinds.values()) >= SCENES // 2 and len(kinds) == 3


def pointed_at(sample: Sample, scene: Scene) -> SceneObject:
    assert sample.region is not None
    corners = sample.region.corners * 64
    box = [*corners.min(axis=0), *corners.max(axis=0)]
    (thing,) = [o for o in scene.objects if np.allclose(o.box_px, box)]
    return thing


def test_the_control_asks_the_same_without_a_region() -> None:
    rows, control = data("caption"), data("caption", pointed=False)
    for i in range(SCENES):
        assert control[i].region is None and REGION not in control[i].instruction
        assert control[i].responses == rows[i].responses and pointed(control[i]) is control[i]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": "x"}, "leave data.root out"),
        ({"asks": ["each"]}, "request about regions 'each'"),
        ({"asks": []}, "asks is empty"),
        ({"split": "val"}, "split of scene_regions 'val'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SceneRegions(**({"split": "train", "scenes": {"train": 4}} | options))
