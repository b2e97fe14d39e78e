"""Choices: which experts follow from the logits, against formulas by hand and the rules that hold for all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from rsmoe.config import conf_dir
from rsmoe.errors import UserError
from rsmoe.parts import instantiate
from rsmoe.router.routing import RULED_OUT, Routing

CHOICES = sorted(path.stem for path in (conf_dir() / "choice").glob("*.yaml"))
P = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.051, 0.052, 0.847]])


def choice(name: str, *, experts: int = 4, **options: object) -> Any:
    node: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / "choice" / f"{name}.yaml"))
    return instantiate({**node, **options}, width=3, experts=experts).eval()


def choose(part: Any, logits: Tensor, *, by: Tensor | None = None) -> Routing:
    routing: Routing = part(logits, by=logits if by is None else by, state=torch.ones(len(logits), 3))
    return routing


def chosen(routing: Routing) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in routing.chosen]


def before(logits: Tensor, *, k: int = 3, threshold: float = 0.1) -> tuple[Tensor, Tensor]:
    """What the router chose before choices were parts of their own."""
    probability = logits.softmax(-1)
    top = probability.topk(k, dim=-1)
    keep = top.values > 0
    keep[:, 1:] &= top.values[:, 1:] >= threshold
    taken = torch.zeros_like(probability, dtype=torch.bool).scatter(1, top.indices, keep)
    weights = probability.masked_fill(~taken, 0.0)
    return taken, weights / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_the_default_routes_as_before(spread: float) -> None:
    torch.manual_seed(0)
    logits = spread * torch.randn(500, 6)
    logits[:, 4] = RULED_OUT
    taken, weights = before(logits)
    now = choose(choice("threshold", experts=6), logits)
    assert torch.equal(now.chosen, taken)
    torch.testing.assert_close(now.weights, weights)
    assert len(taken.sum(1).unique()) > 1 or spread == 0.1


@pytest.mark.parametrize(("k", "expected"), [(1, [[0], [3]]), (2, [[0, 1], [2, 3]]), (9, [[0, 1, 2, 3]] * 2)])
def test_top_k(k: int, expected: list[list[int]]) -> None:
    routing = choose(choice("top_k", k=k), P.log())
    assert chosen(routing) == expected
    torch.testing.assert_close(routing.weights[0, expected[0]], P[0, expected[0]] / P[0, expected[0]].sum())


def test_a_threshold_keeps_what_is_probable_and_always_one() -> None:
    routing = choose(choice("threshold", threshold=0.1, k=4), P.log())
    assert chosen(routing) == [[0, 1, 2], [3]]
    torch.testing.assert_close(routing.weights[0], torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95)
    assert chosen(choose(choice("threshold", threshold=1.0, k=4), P.log())) == [[0], [3]]


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.0, [[0], [3]]), (0.6, [[0, 1], [3]]), (0.89, [[0, 1, 2], [2, 3]]), (1.0, [[0, 1, 2, 3]] * 2)],
)
def test_top_p_takes_no_more_than_it_needs(p: float, expected: list[list[int]]) -> None:
    assert chosen(choose(choice("top_p", p=p), P.log())) == expected


def test_sigmoid_scores_are_normalised_over_the_chosen() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5, RULED_OUT]])
    routing, scores = choose(choice("sigmoid", k=2), logits), logits.sigmoid()
    assert chosen(routing) == [[0, 2]]
    torch.testing.assert_close(routing.weights[0, [0, 2]], scores[0, [0, 2]] / scores[0, [0, 2]].sum())
    torch.testing.assert_close(routing.logits.softmax(-1), scores / scores.sum())


def test_noise_has_the_learned_size_and_the_load_is_the_chance_to_be_chosen() -> None:
    torch.manual_seed(0)
    part = choice("noisy_top_k", k=2).train()
    with torch.no_grad():
        part.noise.weight.copy_(torch.tensor([[1.0], [0.0], [-1.0], [0.5]]).expand(4, 3))
    logits = P[:1].log().expand(40_000, -1)
    routing = choose(part, logits)
    deviation = torch.nn.functional.softplus(3 * torch.tensor([1.0, 0.0, -1.0, 0.5]))
    torch.testing.assert_close((routing.logits - logits).std(0), deviation, rtol=0.03, atol=0.0)
    assert routing.load is not None
    torch.testing.assert_close(routing.load.mean(0), routing.chosen.float().mean(0), atol=0.02, rtol=0.0)
    first = routing.logits[0]  # equations 8 and 9 for one request, the threshold without the expert itself
    others = torch.stack([first[[j for j in range(4) if j != i]].sort(descending=True).values[1] for i in range(4)])
    torch.testing.assert_close(routing.load[0], torch.special.ndtr((logits[0] - others) / deviation))
    routing.load.sum(0).square().sum().backward()
    assert bool(part.noise.weight.grad.abs().sum() > 0)
    assert choose(part.eval(), logits).load is None


def test_experts_choose_the_same_number_of_requests() -> None:
    torch.manual_seed(0)
    logits = torch.randn(16, 4) + torch.tensor([3.0, 0.0, 0.0, 0.0])  # top-k would give all to the first
    part = choice("expert_choice", capacity=2).train()
    routing, probability = choose(part, logits), logits.softmax(-1)
    counts = routing.chosen.sum(0)
    missed = ~torch.zeros(16, 4).scatter(0, probability.topk(8, dim=0).indices, 1.0).bool().any(1)
    assert counts[1:].tolist() == [8, 8, 8] and counts[0] == 8 + missed.sum()
    for e in range(1, 4):
        taken = routing.chosen[:, e]
        assert probability[taken, e].min() > probability[~taken, e].max()
    assert choose(part.eval(), logits).chosen.sum(1).tolist() == [2] * 16


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("training", [False, True])
def test_weights_sum_to_one_over_at_least_one_chosen(name: str, training: bool) -> None:
    torch.manual_seed(0)
    for scale in (0.0, 1.0, 30.0, 1000.0):
        logits = scale * torch.randn(50, 5)
        logits[:, 3] = RULED_OUT
        routing = choose(choice(name, experts=5).train(training), logits)
        assert bool(routing.chosen.any(1).all()) and not bool(routing.chosen[:, 3].any())
        torch.testing.assert_close(routing.weights.sum(1), torch.ones(50))
        assert not bool(routing.weights[~routing.chosen].any())


@pytest.mark.parametrize("name", CHOICES)
def test_permuted_experts_permute_the_routing(name: str) -> None:
    torch.manual_seed(0)
    logits, bias, order = torch.randn(40, 6), torch.randn(6), torch.tensor([3, 0, 5, 1, 4, 2])
    for training in (False, True) if name != "noisy_top_k" else (False,):
        part = choice(name, experts=6).train(training)
        straight = choose(part, logits, by=logits + bias)
        permuted = choose(part, logits[:, order], by=(logits + bias)[:, order])
        assert torch.equal(permuted.chosen, straight.chosen[:, order])
        torch.testing.assert_close(permuted.weights, straight.weights[:, order])


@pytest.mark.parametrize("name", CHOICES)
def test_a_bias_chooses_and_does_not_weigh(name: str) -> None:
    logits = torch.tensor([[1.0, 0.9, 0.0, -1.0]]).expand(3, -1)
    by = logits + torch.tensor([0.0, 0.0, 0.0, 9.0])
    routing = choose(choice(name), logits, by=by)
    assert bool(routing.chosen[:, 3].all())
    score = logits.sigmoid() if name == "sigmoid" else logits.softmax(-1)
    kept = score.masked_fill(~routing.chosen, 0.0)
    torch.testing.assert_close(routing.weights, kept / kept.sum(1, keepdim=True))


@pytest.mark.parametrize("name", CHOICES)
def test_at_inference_a_request_does_not_depend_on_the_others(name: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(12, 5)
    part = choice(name, experts=5)
    together = choose(part, logits)
    alone = torch.cat([choose(part, row[None]).weights for row in logits])
    torch.testing.assert_close(together.weights, alone)


@pytest.mark.parametrize("name", CHOICES)
def test_experts_of_the_label_are_added_while_routes_are_taught(name: str) -> None:
    also = torch.tensor([[False, False, False, True], [True, True, False, False]])
    plain = choose(choice(name), P.log())
    taught = plain.adding(also)
    assert torch.equal(taught.chosen, plain.chosen | also)
    torch.testing.assert_close(taught.weights.sum(1), torch.ones(2))


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("top_k", {"k": 0}, "choice.k=0: expected 1 or more"),
        ("threshold", {"threshold": 1.5}, "choice.threshold=1.5: expected 1.0 at most"),
        ("expert_choice", {"capacity": 0}, "choice.capacity=0: expected 1 or more"),
    ],
)
def test_options_are_checked(name: str, option: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choice(name, **option)
