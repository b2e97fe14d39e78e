import math

import pytest
import torch

from rsmoe.metrics.bootstrap import intervals
from rsmoe.metrics.router_accuracy import RoutingStats

EXPERTS = ("caption", "vqa", "both")
SERVES = (("caption",), ("vqa",), ("caption", "vqa"))


def stats(weights: list[list[float]], task: list[int]) -> RoutingStats:
    metric = RoutingStats(experts=EXPERTS, expert_tasks=SERVES, tasks=("caption", "vqa"))
    metric.update(torch.tensor(weights), torch.tensor(task))
    return metric


def test_a_perfect_router() -> None:
    scores = stats([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], [0, 0, 1, 1]).compute()
    assert (scores["accuracy"], scores["entropy"], scores["n"]) == (1.0, 0.0, 4.0)
    assert scores["mutual_information"] == pytest.approx(math.log(2))
    assert scores["mutual_information_normalised"] == pytest.approx(1.0)
    assert [scores[f"load/{e}"] for e in EXPERTS] == [0.5, 0.5, 0.0]
    assert scores["load_cv"] == pytest.approx(math.sqrt(0.5))


def test_a_uniform_router() -> None:
    third = 1 / 3
    scores = stats([[third] * 3] * 4, [0, 0, 1, 1]).compute()
    assert scores["entropy_normalised"] == pytest.approx(1.0)
    assert scores["mutual_information"] == pytest.approx(0.0, abs=1e-9)
    assert scores["load_cv"] == pytest.approx(0.0, abs=1e-9)


def test_an_inverted_router_and_a_shared_expert() -> None:
    scores = stats([[0, 1, 0], [1, 0, 0], [0.1, 0.3, 0.6]], [0, 1, 1]).compute()
    assert scores["accuracy"] == pytest.approx(1 / 3)
    assert scores["mutual_information"] > 0


def test_confusion_and_updates() -> None:
    whole = stats([[0.5, 0.5, 0], [0, 1, 0]], [0, 1])
    parts = stats([[0.5, 0.5, 0]], [0])
    parts.update(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([1]))
    assert torch.equal(whole.confusion(), torch.tensor([[0.5, 0.5, 0], [0, 1, 0]], dtype=torch.float64))
    assert whole.compute() == parts.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_bad_input() -> None:
    with pytest.raises(ValueError, match="no routing"):
        RoutingStats(experts=EXPERTS, expert_tasks=SERVES).compute()
    with pytest.raises(ValueError, match="3 experts"):
        RoutingStats(experts=EXPERTS, expert_tasks=SERVES[:2])


def test_agreement_within_tasks_and_overlap_between_them() -> None:
    apart = stats([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], [0, 0, 1, 1]).compute()
    assert (apart["agreement"], apart["overlap"]) == (1.0, 0.0)
    mixed = stats([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]], [0, 0, 1, 1]).compute()
    assert (mixed["agreement"], mixed["overlap"]) == (0.5, 1.0)
    soft = stats([[0.7, 0.3, 0], [0.2, 0.3, 0.5]], [0, 1]).compute()
    assert soft["overlap"] == pytest.approx(0.5) and soft["agreement"] == 1.0
    assert "overlap" not in stats([[1, 0, 0]], [0]).compute()


def test_tally_equals_the_metric() -> None:
    weights = torch.rand(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights /= weights.sum(1, keepdim=True)
    task = torch.arange(40) % 2
    metric = stats(weights.tolist(), task.tolist())
    assert metric.tally(weights, task).values() == pytest.approx(metric.compute(), abs=1e-6)
    assert intervals(metric.tally(weights, task), draws=100)["accuracy"].high <= 1.0
