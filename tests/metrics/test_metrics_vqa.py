import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsmoe.metrics.answers.free_text import free_text_row, free_text_tally, token_f1
from rsmoe.metrics.answers.multiple_choice import choice_row, read_choice
from rsmoe.metrics.answers.normalise import Same, exact, normalise, rsvqa
from rsmoe.metrics.answers.vqa import accuracy_row, accuracy_tally, judge

Row = tuple[str, list[str], "str | tuple[str, ...]"]


def scores_of(*rows: Row, same: Same = exact) -> dict[str, float]:
    return accuracy_tally([accuracy_row(kind, *judge(text, true, kind, same)) for text, true, kind in rows]).values()


def accuracy(prediction: str, answer: str, kind: str = "other", same: Same = exact) -> float:
    return scores_of((prediction, [answer], kind), same=same)["overall"]


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
    assert scores_of(("two", ["many", "2."], "count"))["count"] == 1.0


def test_both_averages_and_failures() -> None:
    said = zip(["yes", "yes", "maybe", ""], [["yes"], ["no"], ["yes"], ["no"]], ["presence"] * 4, strict=True)
    scores = scores_of(*said, ("3", ["three"], "count"), ("a lake", ["lake"], ""))
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
        results.append(scores_of(*((prediction, [answer], kind) for prediction, answer, kind in rows)))
        rng.shuffle(rows)
    assert results[0] == results[1] == results[2]


def test_nothing_added_is_an_error() -> None:
    with pytest.raises(ValueError, match="no question"):
        accuracy_tally([])


def test_a_question_of_several_types_counts_once_in_all() -> None:
    scores = scores_of(("B", ["B"], ("colour", "shape")), ("C", ["A"], ("shape",)))
    assert (scores["colour"], scores["shape"], scores["overall"], scores["average"]) == (1.0, 0.5, 0.5, 0.75)
    assert (scores["n"], scores["n/shape"], scores["n/colour"]) == (2, 2, 1)


# ---- free text


def free(*rows: tuple[str, list[str], str]) -> dict[str, float]:
    return free_text_tally([free_text_row(*row) for row in rows]).values()


def test_three_grades_of_free_text() -> None:
    scores = free(
        ("Yes.", ["Yes."], "presence"),
        ("yes", ["Yes."], "presence"),
        ("There are seven planes in the image.", ["7"], "quantity"),
        ("five", ["5", "many"], "quantity"),
        ("", ["5"], "quantity"),
    )
    assert (scores["exact"], scores["normalised"]) == (1 / 5, 3 / 5)
    assert scores["f1"] == pytest.approx((3 + 2 / 8) / 5)
    assert scores["normalised/quantity"] == pytest.approx(1 / 3)
    assert scores["f1/quantity"] == pytest.approx((1 + 2 / 8) / 3)
    assert (scores["n"], scores["n/quantity"], scores["parse_failures"], scores["parse_failures/presence"]) == (
        5,
        3,
        1,
        0,
    )


@pytest.mark.parametrize("reference", ["", "the", "A.", "...", "yes"])
def test_an_empty_answer_is_never_right_in_free_text(reference: str) -> None:
    scores = free(("", [reference], "x"), (" . ", [reference], "x"))
    assert (scores["exact"], scores["normalised"], scores["f1"], scores["parse_failures"]) == (0, 0, 0, 2)


def test_token_f1_counts_repetition_and_is_symmetric() -> None:
    assert token_f1("plane plane plane", "plane") == pytest.approx(0.5)
    assert token_f1("a b", "b c") == token_f1("b c", "a b") == 0.5
    assert token_f1("", "") == 0.0


# ---- multiple choice

OPTIONS = {"A": "road", "B": "A river", "C": "bare land", "D": "2"}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("B", "B"),
        ("b.", "B"),
        ("(C)", "C"),
        (" C) ", "C"),
        ("**C**", "C"),
        ("Answer: B", "B"),
        ("The correct answer is (D).", "D"),
        ("option c", "C"),
        ("C. bare land", "C"),
        ("(C) Bare land.", "C"),
        ("bare land", "C"),
        ("The road", "A"),
        ("a river", "B"),
        ("two", "D"),
        ("A, C", "AC"),
        ("a and c.", "AC"),
        ("(A) (C)", "AC"),
    ],
)
def test_a_choice_is_read(text: str, chosen: str) -> None:
    assert read_choice(text, OPTIONS) == frozenset(chosen)


@pytest.mark.parametrize(
    "text",
    [
        *("", "the", "A road is visible.", "A lake", "E", "C. road", "B or C", "bare", "Bare land and a road", "bad"),
        *("I cannot tell", "Answer:", "A. B. C. D. E", "There are two rivers", "None of A, B, C"),
    ],
)
def test_no_choice_is_made_up(text: str) -> None:
    assert read_choice(text, OPTIONS) is None


def test_multiple_choice_accuracy() -> None:
    said, right = ["Answer: B", "A road is visible", "C A", "A"], ["B", "A.", "A C", "A C"]
    rows = [choice_row(a, b, OPTIONS, kind) for a, b, kind in zip(said, right, "xyzz", strict=True)]
    scores = accuracy_tally(rows).values()
    assert (scores["x"], scores["y"], scores["z"], scores["overall"]) == (1.0, 0.0, 0.5, 0.5)
    assert (scores["n"], scores["parse_failures"]) == (4, 1)
    with pytest.raises(ValueError, match="none of the options"):
        choice_row("A", "Z", OPTIONS, "x")
