"""Grounding: overlap against independent references, the +1 defect, failures in the denominator, AP one to one."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from rsmoe.data.boxes import ParsedBoxes, obb_corners, parse, write
from rsmoe.data.sample import Sample
from rsmoe.evaluation.formats.layouts import read_predictions, read_references
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.grounding import Grounding, grounding_row, grounding_tally, hbb_iou, match
from rsmoe.metrics.regions.obb import obb_iou
from rsmoe.metrics.regions.object_boxes import ObjectBoxes


def answer(*boxes: tuple[float, ...], failed: int = 0, width: int = 4) -> ParsedBoxes:
    array = np.array(boxes, dtype=np.float32).reshape(-1, width)
    return ParsedBoxes(boxes=array, failed=("broken",) * failed)


def score(
    predictions: list[ParsedBoxes], targets: list[np.ndarray], plus_one_in: tuple[int, int] | None = None
) -> dict[str, float]:
    pairs = zip(predictions, targets, strict=True)
    return grounding_tally([grounding_row(*pair, plus_one_in=plus_one_in) for pair in pairs]).values()


UNIT = (0.0, 0.0, 10.0, 10.0)
TARGET = np.array([UNIT])


# ---- boxes of a head


def test_boxes_of_a_head_count_as_boxes_in_words(tmp_path: Path) -> None:
    """The surest first; a sample that asks for what is not there has no say; a file of predictions gives the same."""
    more = {"images": (np.zeros((9, 9, 3), np.uint8),), "instruction": "", "responses": ("",), "task": "mask"}
    true = [TARGET, np.array([UNIT, (20, 0, 30, 10)]), np.zeros((0, 4))]
    samples = [Sample(id=str(k), source="toy", boxes_px=own, **more) for k, own in enumerate(true)]  # type: ignore[arg-type]
    said = [np.array([(50.0, 0, 60, 10), UNIT]), np.array([(20.0, 0, 30, 10), UNIT, (5, 5, 9, 9)]), np.array([UNIT])]
    pairs = [(s, Prediction(id=s.id, task="mask", boxes_px=boxes)) for s, boxes in zip(samples, said, strict=True)]
    found = ObjectBoxes().tally(pairs)
    assert found is not None
    words = score([ParsedBoxes(boxes=boxes) for boxes in said[:2]], true[:2])
    assert found.values() == words
    assert words["acc@0.5"] == pytest.approx(2 / 3) and words["ap@0.5"] == pytest.approx(3 / 5)
    path, keys = tmp_path / "predictions.jsonl", ("id", "task")
    path.write_text("".join(json.dumps(prediction.as_dict()) + "\n" for _, prediction in pairs))
    told = [{key: getattr(s, key) for key in keys} | {"boxes_px": s.boxes_px.tolist()} for s in samples]  # type: ignore[union-attr]
    (tmp_path / "truth.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    truth = read_references(tmp_path / "truth.jsonl", task="mask", split="test")
    read = read_predictions(path, truth, task="mask")
    assert ObjectBoxes().tally(list(zip(truth.samples, read, strict=True))).values() == words  # type: ignore[union-attr]
    silent = ObjectBoxes().tally([(samples[1], Prediction(id="1", task="mask"))])
    assert silent is not None and silent.values()["acc@0.5"] == 0 and silent.values()["parse_failures"] == 1
    assert ObjectBoxes().tally(pairs[2:]) is None


# ---- overlap


def test_horizontal_overlap_by_hand() -> None:
    boxes = np.array([UNIT, (5, 0, 15, 10), (20, 20, 30, 30), (10, 0, 20, 10), (3, 3, 3, 9)])
    np.testing.assert_allclose(hbb_iou(TARGET, boxes), [[1, 1 / 3, 0, 0, 0]])
    np.testing.assert_allclose(hbb_iou(TARGET, boxes, plus_one=True)[0, 1], 66 / (2 * 121 - 66))
    assert hbb_iou(np.zeros((0, 4)), boxes).shape == (0, 5) and obb_iou(np.zeros((2, 5)), np.zeros((0, 5))).shape == (
        2,
        0,
    )
    assert hbb_iou(np.array([(5, 5, 5, 5)]), np.array([(5, 5, 5, 5)])) == 0, "an empty box hits nothing"


def test_oriented_overlap_by_hand() -> None:
    square = np.array([[50, 50, 20, 20, 0.0]])
    octagon = 2 * (math.sqrt(2) - 1) * 400
    others = np.array([
        [50, 50, 20, 20, 90],
        [50, 50, 20, 20, 45],
        [60, 50, 20, 20, 0],
        [50, 50, 10, 10, 30],
        [50, 50, 40, 10, 0],
        [70, 50, 20, 20, 0],
        [50, 50, 20, 0, 0],
    ])  # fmt: skip
    expected = [1, octagon / (800 - octagon), 1 / 3, 0.25, 200 / 600, 0, 0]
    np.testing.assert_allclose(obb_iou(square, others)[0], expected, atol=1e-9)


def test_oriented_overlap_against_pixels() -> None:
    """A picture of each pair, 900 x 900 points, by matplotlib's point-in-polygon."""
    rng = np.random.default_rng(1)
    grid = (np.stack(np.meshgrid(*[np.arange(900)] * 2), -1).reshape(-1, 2) + 0.5) / 9
    for _ in range(25):
        boxes = np.concatenate(
            [rng.uniform(35, 65, (2, 2)), rng.uniform(5, 50, (2, 2)), rng.uniform(-180, 180, (2, 1))], 1
        )
        one, two = (Outline(corners).contains_points(grid) for corners in obb_corners(boxes))
        assert obb_iou(boxes[:1], boxes[1:]) == pytest.approx((one & two).sum() / (one | two).sum(), abs=4e-3)


obbs = st.lists(
    st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(0.5, 80)] * 2, st.floats(-90, 90)), min_size=2, max_size=2
).map(np.array)


@settings(max_examples=150, deadline=None)
@given(obbs, st.floats(-360, 360), st.floats(0.01, 300), st.tuples(*[st.floats(-20000, 20000)] * 2))
def test_oriented_overlap_does_not_depend_on_the_frame(
    boxes: np.ndarray, angle: float, scale: float, shift: tuple[float, float]
) -> None:
    here = float(obb_iou(boxes[:1], boxes[1:]).item())
    assert -1e-9 <= here <= 1 + 1e-9
    assert obb_iou(boxes[1:], boxes[:1]).item() == pytest.approx(here, abs=1e-7)
    turn = math.radians(angle)
    moved = boxes.copy()
    moved[:, 0] = boxes[:, 0] * math.cos(turn) - boxes[:, 1] * math.sin(turn)
    moved[:, 1] = boxes[:, 0] * math.sin(turn) + boxes[:, 1] * math.cos(turn)
    moved[:, 4] += angle
    moved[:, :4] *= scale
    moved[:, :2] += shift
    assert obb_iou(moved[:1], moved[1:]).item() == pytest.approx(here, abs=1e-5)
    swapped = boxes[:1][:, [0, 1, 3, 2, 4]] + [0, 0, 0, 0, 90]
    assert obb_iou(swapped, boxes[1:]).item() == pytest.approx(here, abs=1e-7)
    assert obb_iou(boxes[:1], swapped).item() == pytest.approx(1, abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 100, width=32)] * 4), min_size=2, max_size=5))
def test_upright_oriented_boxes_overlap_as_horizontal_ones(rows: list[tuple[float, ...]]) -> None:
    boxes = np.sort(np.array(rows).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    same = np.concatenate(
        [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], np.zeros((len(boxes), 1))], 1
    )
    np.testing.assert_allclose(obb_iou(same, same), hbb_iou(boxes, boxes), atol=1e-6)


# ---- the defect


def random_boxes(rng: np.random.Generator, n: int, largest: float) -> np.ndarray:
    """Independent boxes in [0, 1] with sides up to ``largest``."""
    side = rng.uniform(0, largest, (n, 2))
    first = rng.uniform(0, 1, (n, 2)) * (1 - side)
    return np.concatenate([first, first + side], axis=1)


@pytest.mark.parametrize("largest", [0.1, 0.2, 0.4])
def test_random_boxes_score_nothing_but_under_plus_one(largest: float) -> None:
    """Scorers that add a pixel to boxes in [0, 1] call a quarter of random answers right."""
    rng = np.random.default_rng(2)
    n = 2000
    predictions = [answer(tuple(box)) for box in random_boxes(rng, n, largest)]
    targets = [box[None] for box in random_boxes(rng, n, largest)]
    right = score(predictions, targets)
    legacy = score(predictions, targets, plus_one_in=(1, 1))
    assert right["acc@0.5"] < 0.01 and legacy["acc@0.5"] > 0.20
    assert legacy["n"] == right["n"] == n
    # the same boxes as pixels of an 800 px picture: the legacy mode writes them as parts of the picture itself
    pixels = [answer(tuple(p.boxes[0] * 800)) for p in predictions], [t * 800 for t in targets]
    assert score(*pixels, plus_one_in=(800, 800))["acc@0.5"] == pytest.approx(legacy["acc@0.5"], abs=2e-3)
    assert score(*pixels)["acc@0.5"] == pytest.approx(right["acc@0.5"], abs=2e-3)


def test_legacy_needs_horizontal_boxes() -> None:
    with pytest.raises(ValueError, match="horizontal"):
        Grounding(oriented=True, legacy_plus_one=True)


# ---- accuracy


def test_perfect_and_empty() -> None:
    ones = {"acc@0.5": 1.0, "acc@0.7": 1.0, "miou": 1.0, "ap@0.5": 1.0}
    assert score([answer(UNIT)], [TARGET]) == ones | {"n": 1, "parse_failures": 0}
    oriented = np.array([[50, 40, 20, 10, 30.0]])
    full = score([ParsedBoxes(boxes=oriented)], [oriented])
    assert full == pytest.approx(ones | {"n": 1, "parse_failures": 0}, abs=1e-5)
    nothing = score([parse("", convention="minigpt", size_px=(10, 10))], [TARGET])
    assert nothing == dict.fromkeys(ones, 0.0) | {"n": 1, "parse_failures": 1}


def test_a_text_scores_what_its_boxes_score() -> None:
    boxes = np.array([(100, 100, 300, 200)], dtype=np.float32)
    text = write(boxes, convention="lhrs", size_px=(1000, 500))
    assert score([parse(text, convention="lhrs", size_px=(1000, 500))], [boxes])["miou"] == pytest.approx(1, abs=1e-5)
    wrong = parse(text.replace("0.100", "0.500"), convention="lhrs", size_px=(1000, 500))
    assert score([wrong], [boxes]) == {"acc@0.5": 0, "acc@0.7": 0, "miou": 0, "ap@0.5": 0, "n": 1, "parse_failures": 1}


def test_thresholds_are_inclusive_and_the_mean_is_over_true_boxes() -> None:
    half, third = (0.0, 0.0, 10.0, 5.0), (5.0, 0.0, 15.0, 10.0)
    values = score([answer(half), answer(third), answer(UNIT), answer(failed=1)], [TARGET] * 4)
    assert values["acc@0.5"] == 0.5 and values["acc@0.7"] == 0.25
    assert values["miou"] == pytest.approx((0.5 + 1 / 3 + 1) / 4)
    assert values["n"] == 4 and values["parse_failures"] == 1


def test_naming_many_boxes_does_not_help() -> None:
    """One true box: the first of the answer counts, and the others lower the precision."""
    spread = [(float(x), float(y), x + 10.0, y + 10.0) for x in range(-10, 20, 10) for y in range(-10, 20, 10)]
    values = score([answer(*spread)], [TARGET])
    assert values["acc@0.5"] == 0 and values["ap@0.5"] == pytest.approx(1 / 9)


def test_several_true_boxes_are_matched_one_to_one() -> None:
    two = np.array([UNIT, (20, 0, 30, 10)])
    assert score([answer((20, 0, 30, 10), UNIT)], [two])["acc@0.7"] == 1, "in any order"
    doubled = score([answer(UNIT, UNIT)], [two])
    assert doubled["acc@0.5"] == 0.5 and doubled["miou"] == 0.5 and doubled["ap@0.5"] == 0.25
    partly = score([answer(UNIT, failed=1)], [two])
    assert partly["acc@0.5"] == 0.5 and partly["parse_failures"] == 1 and partly["ap@0.5"] == 0.25


def test_the_surer_box_chooses_first_and_ties_go_by_overlap() -> None:
    iou = np.array([[0.6, 0.9], [0.8, 0.7]])
    assert match(iou).tolist() == [1, 0]
    assert match(iou[:, :1]).tolist() == [-1, 0]
    assert match(iou, at_least=0.85).tolist() == [1, -1]
    assert match(np.zeros((2, 2))).tolist() == [-1, -1], "no overlap is no match"


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(n, 5\)"):
        score([answer(UNIT)], [np.zeros((1, 5))])
    with pytest.raises(ValueError, match="no sample"):
        grounding_tally([])
    with pytest.raises(ValueError, match="zip"):
        score([answer(UNIT)], [TARGET, TARGET])


# ---- order


def world(seed: int = 5, n: int = 9) -> tuple[list[ParsedBoxes], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    targets = [random_boxes(rng, 1 + i % 3, 0.5) * 100 for i in range(n)]
    predictions = []
    for i, true in enumerate(targets):
        near = true + rng.normal(0, 4, true.shape)
        near = np.sort(near.reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        predictions.append(ParsedBoxes(boxes=near[: 1 + i % 2].astype(np.float32), failed=("x",) * (i == 4)))
    return predictions, targets


def test_the_order_of_samples_does_not_matter() -> None:
    predictions, targets = world()
    expected = score(predictions, targets)
    assert 0 < expected["ap@0.5"] < 1 and 0 < expected["miou"] < 1
    order = np.random.default_rng(0).permutation(len(targets))
    assert score([predictions[i] for i in order], [targets[i] for i in order]) == pytest.approx(expected, abs=1e-12)


def test_the_order_of_boxes_in_a_complete_answer_does_not_matter() -> None:
    true = np.array([UNIT, (8, 0, 20, 10), (40, 40, 60, 70)])
    said = [(1.0, 1.0, 11.0, 9.0), (9.0, 0.0, 21.0, 11.0), (42.0, 40.0, 66.0, 70.0)]
    values = [score([answer(*order)], [true]) for order in permutations(said)]
    assert all(value == pytest.approx(values[0], abs=1e-12) for value in values)
