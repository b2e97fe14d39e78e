import math
from pathlib import Path

import numpy as np
import pytest

from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.router_accuracy import routing_tally
from rsmoe.metrics.scoring import score

EXPERTS = ("caption", "vqa", "both")
SERVES = np.array([[True, False, True], [False, True, True]])  # caption, vqa


def stats(weights: list[list[float]], task: list[int]) -> dict[str, float]:
    table = np.array(weights, dtype=np.float64).reshape(-1, 3)
    return routing_tally(table, np.array(task, dtype=int), experts=EXPERTS, serves=SERVES).values()


def test_a_perfect_router() -> None:
    scores = stats([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], [0, 0, 1, 1])
    assert (scores["accuracy"], scores["entropy"], scores["n"]) == (1.0, 0.0, 4.0)
    assert scores["mutual_information"] == pytest.approx(math.log(2))
    assert scores["mutual_information_normalised"] == pytest.approx(1.0)
    assert [scores[f"load/{e}"] for e in EXPERTS] == [0.5, 0.5, 0.0]
    assert scores["load_cv"] == pytest.approx(math.sqrt(0.5))


def test_a_uniform_router() -> None:
    third = 1 / 3
    scores = stats([[third] * 3] * 4, [0, 0, 1, 1])
    assert scores["entropy_normalised"] == pytest.approx(1.0)
    assert scores["mutual_information"] == pytest.approx(0.0, abs=1e-9)
    assert scores["load_cv"] == pytest.approx(0.0, abs=1e-9)


def test_an_inverted_router_and_a_shared_expert() -> None:
    scores = stats([[0, 1, 0], [1, 0, 0], [0.1, 0.3, 0.6]], [0, 1, 1])
    assert scores["accuracy"] == pytest.approx(1 / 3)
    assert scores["mutual_information"] > 0


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="weights"):
        stats([], [])
    with pytest.raises(ValueError, match="3 experts"):
        routing_tally(np.ones((1, 3)), np.zeros(1, dtype=int), experts=EXPERTS, serves=SERVES[:, :2])


def test_agreement_within_tasks_and_overlap_between_them() -> None:
    apart = stats([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], [0, 0, 1, 1])
    assert (apart["agreement"], apart["overlap"]) == (1.0, 0.0)
    mixed = stats([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]], [0, 0, 1, 1])
    assert (mixed["agreement"], mixed["overlap"]) == (0.5, 1.0)
    soft = stats([[0.7, 0.3, 0], [0.2, 0.3, 0.5]], [0, 1])
    assert soft["overlap"] == pytest.approx(0.5) and soft["agreement"] == 1.0
    assert "overlap" not in stats([[1, 0, 0]], [0])


def test_samples_are_routed_under_their_protocol() -> None:
    rng = np.random.default_rng(0)
    samples = [
        Sample(id=str(i), images=(Path("x"),), instruction="", responses=("a",), task=task, source="s")
        for i, task in enumerate(["caption", "vqa"] * 20)
    ]
    weights = rng.dirichlet(np.ones(3), 40)
    given = [
        Prediction(id=s.id, task=s.task, text="a", weights=tuple(w), experts=EXPERTS)
        for s, w in zip(samples, weights.tolist(), strict=True)
    ]
    tasks = {"caption": ("caption",), "vqa": ("vqa",), "both": ("caption", "vqa")}
    results = score(samples, given, protocol_prefix="", split="t", expert_tasks=tasks, draws=100)
    found = {r.metric: r for r in results if r.metric.startswith("routing/")}
    expected = stats(weights.tolist(), [0, 1] * 20)
    shown = [name for name in expected if name not in ("n", "entropy", "mutual_information")]
    assert {f"routing/{name}" for name in shown} == set(found)
    for name in shown:
        factor = 1 if name == "load_cv" else 100
        assert found[f"routing/{name}"].value == pytest.approx(factor * expected[name]), name
    accuracy = found["routing/accuracy"]
    assert accuracy.low is not None and accuracy.high is not None and accuracy.low < accuracy.value < accuracy.high
    with pytest.raises(UserError, match="unknown expert 'both'"):
        score(samples, given, protocol_prefix="", split="t", expert_tasks={"caption": (), "vqa": ()})
