"""Answers about change: presence, counts and cells, where an unreadable answer is always wrong."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsmoe.data.change.answers import write_cells, write_counts, write_presence
from rsmoe.data.change.cells import CELLS
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.change.cells_f1 import cells_tally
from rsmoe.metrics.change.counts import counts_tally
from rsmoe.metrics.change.presence import presence_tally
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import score


def presence(*rows: tuple[bool | None, bool]) -> dict[str, float]:
    return presence_tally([list(row) for row in rows]).values()


def counts(*rows: tuple[dict[str, int] | None, dict[str, int]]) -> dict[str, float]:
    return counts_tally([list(row) for row in rows]).values()


def cells(*rows: tuple[dict[str, list[str]] | None, dict[str, list[str]]], **kwargs: float) -> dict[str, float]:
    return cells_tally([list(row) for row in rows], **kwargs).values()


def test_presence_by_hand() -> None:
    found = presence((True, True), (True, True), (False, True), (True, False), (False, False), (False, False))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (found["false_alarm"], found["n"], found["n/false_alarm"]) == (pytest.approx(1 / 3), 6, 3)


def test_unreadable_presence_is_wrong_on_either_side() -> None:
    found = presence((None, True), (None, False))
    assert (found["accuracy"], found["recall"], found["false_alarm"], found["parse_failures"]) == (0, 0, 1, 2)


def test_presence_without_a_change_at_all() -> None:
    right, wrong = presence((False, False)), presence((True, False))
    assert right["f1"] == right["precision"] == right["recall"] == 1 and wrong["f1"] == wrong["precision"] == 0
    assert math.isnan(presence((True, True))["false_alarm"])


def test_counts_by_hand() -> None:
    found = counts(
        ({"road": 2, "building": 5}, {"road": 1, "building": 5}),
        ({"road": 0, "building": 0}, {"road": 0, "building": 0}),
        ({"road": 0, "building": 3}, {"road": 0, "building": 0}),
    )
    assert (found["mae/road"], found["rmse/road"]) == pytest.approx((1 / 3, math.sqrt(1 / 3)))
    assert (found["mae/building"], found["rmse/building"]) == pytest.approx((1.0, math.sqrt(3)))
    assert (found["exact"], found["false_alarm"], found["n/false_alarm"]) == (pytest.approx(1 / 3), 0.5, 2)


def test_an_unreadable_count_is_never_better_than_a_readable_one() -> None:
    truth = [{"road": 0}, {"road": 4}, {"road": 10}]
    silent = counts(*((None, t) for t in truth))
    assert silent["mae/road"] == pytest.approx((10 + 6 + 10) / 3)
    assert (silent["exact"], silent["false_alarm"], silent["parse_failures"]) == (0, 1, 3)
    for said in range(11):
        assert counts(*(({"road": said}, t) for t in truth))["mae/road"] <= silent["mae/road"]


def test_cells_by_hand() -> None:
    found = cells(
        ({"road": ["top-left", "top-right"], "building": []}, {"road": ["top-left"], "building": []}),
        ({"road": [], "building": ["center-center"]}, {"road": [], "building": ["center-center", "top-left"]}),
    )
    assert (found["precision/road"], found["recall/road"], found["f1/road"]) == pytest.approx((0.5, 1.0, 2 / 3))
    assert (found["jaccard/road"], found["subset/road"], found["hamming/road"]) == pytest.approx((0.75, 0.5, 1 / 18))
    assert (found["precision"], found["recall"]) == pytest.approx((2 / 3, 2 / 3))
    assert (found["subset"], found["jaccard"]) == (0.0, pytest.approx((0.5 + 1 + 1 + 0.5) / 4))
    assert (found["false_alarm/road"], found["false_alarm/building"], found["n"]) == (0.0, 0.0, 2)


def test_a_perfect_answer_scores_the_maximum_and_an_unreadable_one_the_minimum() -> None:
    rng = random.Random(0)
    truth = [{"road": rng.sample(CELLS, rng.choice([0, 0, 0, 2])), "building": []} for _ in range(30)]
    best, worst = cells(*((t, t) for t in truth)), cells(*((None, t) for t in truth))
    for name in ("precision", "recall", "f1", "jaccard", "subset"):
        assert best[name] == 1.0 and worst[name] == 0.0, name
    assert best["hamming"] == best["false_alarm"] == 0.0 and worst["hamming"] == worst["false_alarm"] == 1.0
    assert worst["parse_failures"] == 30


def test_scikit_learns_jaccard_gives_a_perfect_answer_30_percent() -> None:
    """70 % of the pairs without a change; the values of jaccard_score(average='samples') of scikit-learn 1.9."""
    truth = [{"road": ["top-left"] if i < 3 else []} for i in range(10)]
    assert cells(*((t, t) for t in truth), empty_jaccard=0.0)["jaccard"] == pytest.approx(0.3)
    assert cells(*((t, t) for t in truth))["jaccard"] == 1.0


some_cells = st.lists(st.sampled_from(CELLS), max_size=4, unique=True)
pairs_of_cells = st.lists(
    st.tuples(st.none() | st.fixed_dictionaries({"road": some_cells}), st.fixed_dictionaries({"road": some_cells})),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(pairs_of_cells)
def test_order_changes_nothing_and_all_numbers_are_shares(rows: list) -> None:  # type: ignore[type-arg]
    found, turned = cells(*rows), cells(*rows[::-1])
    for name, value in found.items():
        assert turned[name] == pytest.approx(value, nan_ok=True)
        assert math.isnan(value) or value >= 0 or name.startswith(("n", "parse"))
        if not name.startswith(("n", "parse")):
            assert math.isnan(value) or value <= 1


# ---- from text


def question(name: str, asks: str, answer: str, **meta: object) -> Sample:
    return Sample(
        id=name,
        images=("a", "b"),  # type: ignore[arg-type]
        instruction="?",
        responses=(answer,),
        task="change_vqa",
        source="toy",
        kind=asks,
        meta={"asks": asks, **meta},
    )


def asked() -> list[Sample]:
    one, none = {"road": 2, "building": 0}, {"road": 0, "building": 0}
    where, nowhere = {"road": ["top-left"], "building": []}, {"road": [], "building": []}
    return [
        question("p1", "presence", write_presence(True), changed=True),
        question("p0", "presence", write_presence(False), changed=False),
        question("n1", "count", write_counts(one), change_counts=one),
        question("n0", "count", write_counts(none)),  # without a structured target: read from the reference
        question("c1", "location", write_cells(where), change_cells=where),
        question("c0", "location", write_cells(nowhere)),
        question("o", "open", "A road was built."),
    ]


def numbers(texts: dict[str, str], **kwargs: object) -> dict[str, float]:
    samples = asked()
    given = [Prediction(id=s.id, task=s.task, text=texts.get(s.id, s.responses[0])) for s in samples]
    results = score(samples, given, protocol_prefix="", split="test", **kwargs)  # type: ignore[arg-type]
    return {r.metric.removeprefix("change_vqa/"): r.value for r in results}


def test_changechat_from_text() -> None:
    best = numbers({})
    for name in (
        "accuracy/presence",
        "f1/presence",
        "exact/count",
        "f1/location",
        "jaccard/location",
        "normalised/text",
    ):
        assert best[name] == 100, name
    assert best["mae/road/count"] == best["rmse/road/count"] == best["false_alarm/presence"] == 0

    worse = numbers({"p0": "Yes, two houses.", "n1": "4 roads and 1 building", "c0": "everywhere", "o": "a road"})
    assert (worse["accuracy/presence"], worse["false_alarm/presence"]) == (50, 100)
    assert (worse["mae/road/count"], worse["mae/building/count"]) == (1.0, 0.5), "things, not percent"
    assert worse["subset/location"] == 50 and 0 < worse["f1/text"] < 100


def test_an_empty_model_is_wrong_everywhere_in_changechat() -> None:
    worst = numbers(dict.fromkeys([s.id for s in asked()], ""))
    for name in ("accuracy/presence", "exact/count", "f1/location", "jaccard/location", "subset/location", "f1/text"):
        assert worst[name] == 0, name
    for kind in ("presence", "count", "location"):
        assert worst[f"false_alarm/{kind}"] == 100


def test_parse_failures_are_counted_per_kind() -> None:
    samples = asked()
    given = [Prediction(id=s.id, task=s.task, text="perhaps") for s in samples]
    results = {r.metric: r for r in score(samples, given, protocol_prefix="", split="test")}
    assert (results["change_vqa/accuracy/presence"].n, results["change_vqa/accuracy/presence"].parse_failures) == (2, 2)
    assert results["change_vqa/subset/location"].parse_failures == 2
    assert (results["change_vqa/f1/text"].n, results["change_vqa/f1/text"].parse_failures) == (1, 0)


def test_a_reference_that_says_nothing_is_an_error() -> None:
    broken = question("x", "count", "many houses")
    with pytest.raises(UserError, match="does not say a count"):
        score([broken], [Prediction(id="x", task="change_vqa")], protocol_prefix="", split="test")
