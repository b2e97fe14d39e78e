"""Descriptions by aspect: a wrong sentence costs its own aspect alone, and who has no such sentence is not asked."""

from __future__ import annotations

import numpy as np
import pytest

from rsmoe.data.sample import Sample
from rsmoe.metrics.captions.aspects import CaptionAspects
from rsmoe.metrics.captions.caption_scores import caption_scores
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import score

TOLD = [
    "this is a harbour . two white ships lie here . the pier is next to the water .",
    "a wide forest is seen . many green trees stand here . the river runs along the forest .",
    "this is a town . seven red houses are seen .",
]


def scored(texts: list[str]) -> dict[str, float]:
    image = np.zeros((8, 8, 3), np.uint8)
    samples = [
        Sample(id=str(i), images=(image,), instruction="describe", responses=(told,), task="caption", source="s")
        for i, told in enumerate(TOLD)
    ]
    given = [Prediction(id=str(i), task="caption", text=text) for i, text in enumerate(texts)]
    tally = CaptionAspects().tally(list(zip(samples, given, strict=True)))
    return tally.values()


def test_what_is_said_right_is_ten_and_a_wrong_sentence_costs_its_aspect() -> None:
    perfect = scored(TOLD)
    assert [perfect[name] for name in ("theme", "object", "relation")] == pytest.approx([10, 10, 10])
    assert [perfect[f"n/{name}"] for name in ("theme", "object", "relation")] == [3, 3, 2]
    worse = scored([TOLD[0].replace("two white ships", "nine blue cars"), *TOLD[1:]])
    assert worse["object"] < 9 and worse["theme"] == perfect["theme"] and worse["relation"] == perfect["relation"]


def test_an_aspect_is_a_corpus_of_its_own_and_silence_scores_nothing() -> None:
    found = scored(["this is a harbour .", "", TOLD[2]])
    themes = [text.split(" . ")[0] for text in TOLD]
    expected = caption_scores(["this is a harbour .", "", themes[2]], [[t] for t in themes], tokenize=whitespace)
    assert found["theme"] == pytest.approx(expected["cider_d"])
    assert found["relation"] == 0 and found["parse_failures"] == 1 and found["n"] == 3


def test_it_is_a_protocol_with_intervals() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    samples = [
        Sample(id=str(i), images=(image,), instruction="describe", responses=(told,), task="caption", source="s")
        for i, told in enumerate(TOLD)
    ]
    given = [Prediction(id=s.id, task="caption", text=s.responses[0]) for s in samples]
    options = {"protocol_prefix": "", "split": "test", "draws": 20}
    results = {r.metric: r for r in score(samples, given, protocols={"caption": "caption/aspects@1"}, **options)}
    assert results["caption/theme"].value == pytest.approx(1000) and results["caption/relation"].n == 2
    assert results["caption/object"].low == pytest.approx(1000)
