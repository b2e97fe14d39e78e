"""Balances: losses by hand, the bias that moves, and shares over two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.process_group import in_two
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rsmoe.router.balance.cv2 import Cv2Balance
from rsmoe.router.balance.loss_free import LossFreeBalance
from rsmoe.router.balance.none import NoBalance
from rsmoe.router.balance.switch import SwitchBalance
from rsmoe.router.choice.noisy_top_k import NoisyTopK
from rsmoe.router.choice.top_k import TopK
from rsmoe.router.routing import RULED_OUT, Routing

P = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.05, 0.05, 0.85]])


def routed(logits: Tensor, *, k: int = 9) -> Routing:
    routing: Routing = TopK(width=1, experts=logits.shape[-1], k=k)(logits, by=logits, state=logits)
    return routing


@pytest.mark.parametrize("experts", [2, 5])
def test_switch_is_one_when_uniform_and_e_when_one_takes_all(experts: int) -> None:
    balance = SwitchBalance(experts=experts)
    torch.testing.assert_close(balance(routed(torch.zeros(3, experts))), torch.tensor(1.0))
    one = torch.full((3, experts), -50.0)
    one[:, 1] = 50.0
    torch.testing.assert_close(balance(routed(one)), torch.tensor(float(experts)))


def test_switch_by_hand() -> None:
    weights = torch.tensor([[1.0, 0, 0, 0], [0.2, 0, 0, 0.8]])
    routing = Routing(logits=P.log(), weights=weights, chosen=weights > 0)
    expected = 4 * (torch.tensor([0.6, 0, 0, 0.4]) * P.mean(0)).sum()
    for training in (False, True):
        torch.testing.assert_close(SwitchBalance(experts=4).train(training)(routing), expected)


def test_cv2_by_hand() -> None:
    weights = torch.tensor([[1.0, 0, 0, 0], [0.2, 0, 0, 0.8]])
    routing = Routing(logits=P.log(), weights=weights, chosen=weights > 0)

    def cv2(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return sum((v - mean) ** 2 for v in values) / len(values) / mean**2

    expected = cv2([1.2, 0, 0, 0.8]) + cv2([2, 0, 0, 1])
    for training in (False, True):
        balance = Cv2Balance(experts=4).train(training)
        torch.testing.assert_close(balance(routing), torch.tensor(expected))
        torch.testing.assert_close(balance(routed(torch.zeros(3, 4))), torch.tensor(0.0))


def test_cv2_does_not_count_an_expert_that_may_not_be_chosen() -> None:
    logits = torch.zeros(3, 4)
    logits[:, 2] = RULED_OUT
    torch.testing.assert_close(Cv2Balance(experts=4)(routed(logits)), torch.tensor(0.0))


def test_cv2_of_noisy_choices_has_a_gradient_for_the_load() -> None:
    torch.manual_seed(0)
    logits = (torch.randn(8, 4) + torch.tensor([2.0, 0, 0, 0])).requires_grad_()
    routing = NoisyTopK(width=2, experts=4, k=2)(logits, by=logits, state=torch.zeros(8, 2))
    still = Routing(logits=routing.logits, weights=routing.weights.detach(), chosen=routing.chosen, load=routing.load)
    Cv2Balance(experts=4)(still).backward()
    assert logits.grad is not None and float(logits.grad[:, 0].sum()) > 0  # down with the one that has too much


def test_no_balance_is_zero() -> None:
    assert float(NoBalance(experts=4)(routed(P.log()))) == 0.0 and NoBalance(experts=4).bias is None


def test_the_bias_moves_against_the_error_of_the_load_and_is_saved() -> None:
    balance = LossFreeBalance(experts=4, rate=0.5)
    logits = torch.tensor([[3.0, 1.0, 0.0, RULED_OUT]] * 5)
    assert float(balance(routed(logits, k=1))) == 0.0
    assert balance.bias.tolist() == [-0.5, 0.5, 0.5, 0.0]  # an expert that is ruled out stays
    balance.eval()(routed(logits, k=1))
    assert balance.bias.tolist() == [-0.5, 0.5, 0.5, 0.0]
    again = LossFreeBalance(experts=4)
    again.load_state_dict(balance.state_dict())
    assert torch.equal(again.bias, balance.bias)


def test_the_bias_evens_the_load() -> None:
    torch.manual_seed(0)
    balance, choice = LossFreeBalance(experts=4, rate=0.02), TopK(width=1, experts=4, k=1)
    skew = torch.tensor([2.0, 0.5, 0.0, -1.0])
    loads = []
    for _ in range(300):
        logits = torch.randn(256, 4) + skew
        routing = choice(logits, by=logits + balance.bias, state=logits)
        balance(routing)
        loads.append(routing.chosen.float().mean(0))
    assert float(loads[0].max()) > 0.6
    assert float((torch.stack(loads[-50:]).mean(0) - 0.25).abs().max()) < 0.03


"""Two processes: three requests on one, five on the other."""

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
SPLIT = [slice(0, 3), slice(3, 8)]
BALANCES: dict[str, Any] = {"switch": SwitchBalance, "cv2": Cv2Balance, "loss_free": LossFreeBalance}


class _Gate(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.gate, self.balance = nn.Linear(6, 4), BALANCES[kind](experts=4)

    def forward(self, x: Tensor) -> Tensor:
        loss: Tensor = self.balance(routed(self.gate(x), k=2))
        return loss + 0.0 * self.gate.weight.sum() + 0.0 * self.gate.bias.sum()


def _two(rank: int, folder: Path) -> None:
    found = {}
    for kind in BALANCES:
        model = DistributedDataParallel(_Gate(kind))
        loss = model(X[SPLIT[rank]])
        loss.backward()
        found[kind] = (loss.detach(), model.module.gate.weight.grad, model.module.balance.bias)
        del model, loss
    torch.save(found, folder / f"{rank}.pt")


@pytest.mark.slow
def test_shares_are_those_of_all_ranks(tmp_path: Path) -> None:
    """Loss, gradient and bias of two processes with unequal shares are those of one process with the whole batch."""
    in_two(_two, tmp_path)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for kind in BALANCES:
        one = _Gate(kind)
        loss = one(X)
        loss.backward()
        for of_rank in found:
            torch.testing.assert_close(of_rank[kind][0], loss.detach())
            torch.testing.assert_close(of_rank[kind][1], one.gate.weight.grad)
            if kind == "loss_free":
                assert torch.equal(of_rank[kind][2], one.balance.bias) and bool(one.balance.bias.any())
            else:
                assert bool(one.gate.weight.grad.any())
    part = _Gate("switch")(X[SPLIT[0]])
    assert abs(float(part.detach()) - float(found[0]["switch"][0])) > 1e-4  # the share of one rank is another number
