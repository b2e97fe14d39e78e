import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsmoe.metrics.answers import normalise, rsvqa
from rsmoe.metrics.vqa import VQA


def accuracy(prediction: str, answer: str, kind: str = "other", **kwargs: object) -> float:
    metric = VQA(**kwargs)  # type: ignore[arg-type]
    metric.update([prediction], [[answer]], [kind])
    return metric.compute()["overall"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Yes. ", "yes"),
        ("Twenty-one", "21"),
        ("There are seven planes!", "there are 7 planes"),
        ("1,200 m2", "1200 m2"),
        ("The airport", "airport"),
        ("A.", "a"),
        ("a 5", "a 5"),
        ("north-east", "north east"),
        ("3.5", "3.5"),
        ("-5", "-5"),
        ("freeway.", "freeway"),
        ("...", ""),
        ("", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        ("", "airport"),
        ("", "A."),
        ("the", "A."),
        ("a", "airport"),
        ("port", "airport"),
        ("no", "know"),
        ("1", "10"),
        ("yes or no", "yes"),
        ("airport", "airport runway"),
        (".", "?"),
        ("5", "-5"),
    ],
)
def test_empty_and_partial_answers_are_wrong(prediction: str, answer: str) -> None:
    assert accuracy(prediction, answer) == 0.0
    assert accuracy(prediction, answer, kind="count", same=rsvqa) == 0.0 or (prediction, answer) == ("1", "10")


@settings(deadline=None)
@given(st.text(max_size=12))
def test_the_answer_itself_is_right_and_empty_never_is(text: str) -> None:
    assert accuracy(text, text) == float(bool(normalise(text)))
    assert accuracy("", text) == 0.0


def test_any_reference_counts() -> None:
    metric = VQA()
    metric.update(["two"], [["many", "2."]], ["count"])
    assert metric.compute()["count"] == 1.0


def test_both_averages_and_failures() -> None:
    metric = VQA()
    metric.update(["yes", "yes", "maybe", ""], [["yes"], ["no"], ["yes"], ["no"]], ["presence"] * 4)
    metric.update(["3"], [["three"]], ["count"])
    metric.update(["a lake"], [["lake"]], [""])
    scores = metric.compute()
    assert (scores["presence"], scores["count"], scores["other"]) == (0.25, 1.0, 1.0)
    assert scores["average"] == pytest.approx(0.75)
    assert scores["overall"] == pytest.approx(0.5)
    assert (scores["n"], scores["n/presence"]) == (6, 4)
    assert (scores["parse_failures"], scores["parse_failures/presence"], scores["parse_failures/count"]) == (2, 2, 0)


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("3", "7", True),
        ("10", "11", False),
        ("0", "1", False),
        ("26", "between 10 and 100", True),
        ("more than 1000", "4000", True),
        ("1000", "more than 1000", False),
        ("120m2", "between 100m2 and 1000m2", True),
        ("between 0 and 100", "50", False),
        ("many", "50", False),
        ("", "0", False),
    ],
)
def test_rsvqa_bins(prediction: str, answer: str, right: bool) -> None:
    assert accuracy(prediction, answer, kind="count", same=rsvqa) == float(right)
    if prediction != answer:
        assert accuracy(prediction, answer, kind="presence", same=rsvqa) == 0.0


def test_order_changes_nothing() -> None:
    rng = random.Random(1)
    rows = [(rng.choice(["yes", "no", "2", ""]), rng.choice(["yes", "no", "2"]), rng.choice("abc")) for _ in range(60)]
    results = []
    for _ in range(3):
        metric = VQA()
        for prediction, answer, kind in rows:
            metric.update([prediction], [[answer]], [kind])
        results.append(metric.compute())
        rng.shuffle(rows)
    assert results[0] == results[1] == results[2]


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_nothing_added_is_an_error() -> None:
    with pytest.raises(ValueError, match="no question"):
        VQA().compute()
