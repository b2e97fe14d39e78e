import math

import pytest
import torch

from rsmoe.metrics.routing import RoutingStats

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
