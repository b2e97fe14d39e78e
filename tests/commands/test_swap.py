"""Captions on swapped dates: directions of words, and rates that know a model which turns from one that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.models import codecs, collate, tiny_model

import rsmoe.commands.swap as swap
from rsmoe.data.batch import Batch
from rsmoe.data.change.facts import PairFacts, facts_of_masks
from rsmoe.errors import UserError
from rsmoe.metrics.change.direction import direction
from rsmoe.metrics.prediction import Prediction


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("a house is built beside the road .", 1),
        ("Some trees are removed", -1),
        ("some trees are removed and a road is built", 0),
        ("the scene is the same as before", 0),
        ("buildings disappear and two houses are demolished while a road appears", -1),
    ],
)
def test_directions(text: str, way: int) -> None:
    assert direction(text) == way


def pair(name: str, caption: str, level: int) -> PairFacts:
    """The second date is brighter where something appeared, the first where it vanished."""
    dark, bright = np.full((32, 32, 3), 40, np.uint8), np.full((32, 32, 3), 40 + level, np.uint8)
    images = (bright, dark) if direction(caption) < 0 else (dark, bright)
    mask = np.zeros((32, 32), bool)
    mask[:9] = True
    return facts_of_masks(
        {"building": mask, "road": mask & False}, id=name, images=images, source="hand", captions=(caption,)
    )


PAIRS = [
    pair("0", "a house is built", 90),
    pair("1", "a house is removed", 120),
    pair("2", "a road is constructed", 60),
    pair("3", "trees are removed and a road is built", 50),  # both ways: left out
]


def says(by_pixels: bool) -> object:
    def answer(model: object, codec: object, batch: Batch, **_: object) -> list[Prediction]:
        brighter = (batch.pixels[batch.view, 1] > batch.pixels[batch.view, 0]).flatten(1).any(1).tolist()
        texts = ["a house is built" if (b or not by_pixels) else "a house is removed" for b in brighter]
        return [Prediction(id=s.id, task=s.task, text=t) for s, t in zip(batch.samples, texts, strict=True)]

    return answer


@pytest.mark.parametrize(("by_pixels", "right", "swapped", "flipped"), [(True, 100, 100, 100), (False, 66.7, 33.3, 0)])
def test_a_model_that_looks_turns_with_the_dates(
    by_pixels: bool, right: float, swapped: float, flipped: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsmoe.evaluation.answer.answer_batch", says(by_pixels))
    rates = swap.swap_rates(tiny_model(), codecs()[0], collate(inference=True), PAIRS)
    assert rates["n"] == 3 and rates["kept"] == 100 - rates["flipped"]
    assert [rates[k] for k in ("right", "right_swapped", "flipped")] == pytest.approx(
        [right, swapped, flipped], abs=0.1
    )


def test_the_way_of_a_map_counts_where_both_maps_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ("no change", "new building", "lost building")
    truth = np.zeros((32, 32), np.uint8)
    truth[:4], truth[4:8] = 1, 2
    pairs = [replace(PAIRS[0], class_map=truth, classes=classes)]

    def answer(model: object, codec: object, batch: Batch, **_: object) -> list[Prediction]:
        seen = np.zeros((32, 32), np.uint8)  # whatever the order: new everywhere but in one row that it misses
        seen[1:8] = 1
        return [Prediction(id=s.id, task=s.task, text="a house is built", change_map=seen) for s in batch.samples]

    monkeypatch.setattr("rsmoe.evaluation.answer.answer_batch", answer)
    rates = swap.swap_rates(tiny_model(), codecs()[0], collate(inference=True), pairs)
    assert rates["map_right"] == pytest.approx(300 / 7) and rates["map_right_swapped"] == pytest.approx(400 / 7)


def test_a_real_model_is_asked_and_pairs_without_direction_are_refused() -> None:
    rates = swap.swap_rates(tiny_model(), codecs()[0], collate(inference=True), PAIRS, max_new=4)
    assert rates["n"] == 3 and all(0 <= rates[k] <= 100 for k in ("right", "right_swapped", "flipped", "kept"))
    with pytest.raises(UserError, match="appeared or vanished"):
        swap.swap_rates(tiny_model(), codecs()[0], collate(inference=True), [replace(PAIRS[3])])
