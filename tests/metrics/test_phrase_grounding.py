"""Boxes behind phrases, requests for what is not there, and the constant box beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.constant_box import ConstantBox
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.grounding import Grounding
from rsmoe.metrics.regions.phrase_grounding import PhraseGrounding

META = {"box_convention": "skyeye", "size_px": (100, 100)}


def sample(boxes: list[list[float]], **more: Any) -> Sample:
    meta = META | more.pop("meta", {})
    told = {"id": "a", "instruction": "where?", "responses": ("",), "task": "ground", "source": "toy"} | more
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample(images=(np.zeros((100, 100, 3), np.uint8),), boxes_px=rows, meta=meta, **told)


def phrases(text: str) -> dict[str, float]:
    asked = sample([[0, 0, 10, 10], [50, 50, 90, 90]], meta={"phrases": ("the White ship", "the pier")})
    return PhraseGrounding().tally([(asked, Prediction(id="a", task="ground", text=text))]).values()


@pytest.mark.parametrize(
    ("text", "half", "failed"),
    [
        ("<p>the white ship</p> {<0><0><10><10>} and <p>the pier</p> {<50><50><90><90>}", 1.0, 0),
        ("< p > the white ship < / p > { < 0 > < 0 > < 10 > < 10 > } and < p > the pier < / p > { < 0 > }", 0.5, 1),
        ("<p>the pier</p> {<50><50><90><90>}<p>the white ship</p> {<0><0><10><10>}", 1.0, 0),  # in any order
        ("<p>the white ship</p> {<50><50><90><90>} <p>the pier</p> {<0><0><10><10>}", 0.0, 0),
        ("<p>the pier</p> {<0><0><9><9>} <p>the pier</p> {<50><50><90><90>}", 0.0, 1),  # the first counts
        ("{<0><0><10><10>} {<50><50><90><90>}", 0.0, 2),
        ("", 0.0, 2),
    ],
)
def test_a_phrase_has_the_box_behind_it(text: str, half: float, failed: int) -> None:
    found = phrases(text)
    assert (found["acc@0.5"], found["parse_failures"], found["n"]) == (half, failed, 2)


def test_boxes_without_phrases_are_refused() -> None:
    with pytest.raises(UserError, match="has no box for each phrase"):
        PhraseGrounding().tally([(sample([[0, 0, 9, 9]]), Prediction(id="a", task="ground"))])


def test_what_is_not_there_has_no_box() -> None:
    """A box for it lowers the precision and "none"; the boxes of other requests are as they were."""
    there, absent = sample([[0, 0, 10, 10]]), sample([])
    right, nothing = "{<0><0><10><10>}", "there is no ship here"

    def score(*texts: str) -> dict[str, float]:
        pairs = zip((there, absent, absent), texts, strict=False)
        return Grounding().tally([(s, Prediction(id="a", task="ground", text=text)) for s, text in pairs]).values()

    assert "none" not in score(right)
    assert (found := score(right, nothing, right))["none"] == 0.5 and found["acc@0.5"] == 1 and found["n"] == 1
    assert found["ap@0.5"] == 0.5 and found["parse_failures"] == 0
    assert score(right, nothing, nothing)["none"] == 1 and score(right, "{<99><0><10><10>}")["none"] == 0


def test_the_constant_box_meets_most_others() -> None:
    """It is one of the training boxes, of the kind that is asked for, and is said behind every phrase."""
    best = ConstantBox()
    train = [sample([[k, 0, 50 + k, 50]]) for k in range(5)] + [sample([[90, 90, 99, 99]]), sample([])]
    turned = [
        sample([[0, 0, 9, 9]], obb_px=np.array([[50.0, 50, 40, 20, angle]]), meta={"box_convention": "pixel_obb"})
        for angle in (0, 5, 80)
    ]
    found = best.best([*train, *turned])
    assert np.allclose(found[4], [0.02, 0, 0.52, 0.5]) and found[5][4] in (0, 5)
    assert best.as_fields(found, train[0]) == {"text": "{<2><0><52><50>}"}
    assert best.as_fields(found, turned[0])["text"].startswith("[50.00, 50.00, 40.00, 20.00,")
    asked = sample([], meta={"phrases": ("a", "b"), "size_px": (200, 100), "box_convention": "pixel_xyxy"})
    one = "[4.00, 0.00, 104.00, 50.00]"
    assert best.as_fields(found, asked) == {"text": f"<p>a</p> {one} and <p>b</p> {one}"}
    assert best.as_fields(best.true(turned[0]), train[0]) == {"text": ""}, "of the other kind"
    assert best.best([sample([])]) == {} and best.as_fields(None, asked) == {"text": ""}
