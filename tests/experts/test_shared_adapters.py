"""A shared expert that is always on, and a shared A: against merged weights, PEFT, and their own invariants."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from support.banks import LLAMA_TARGETS, L, V, base
from torch import Tensor, nn

from rsmoe.errors import UserError
from rsmoe.experts.bank import ExpertBank

IDS = torch.randint(2, V, (4, L), generator=torch.Generator().manual_seed(0))
MASK = torch.ones(4, L, dtype=torch.bool)
EXPERT = torch.tensor([0, 1, 1, 2])


def made(**options: bool) -> ExpertBank:
    torch.manual_seed(0)
    bank = ExpertBank(lm=base(), experts=3, rank=4, alpha=8.0, targets=LLAMA_TARGETS, **options)
    with torch.no_grad():
        for name, p in bank.named_parameters():
            if "lora_" in name:
                p.copy_(0.3 * torch.randn(p.shape))
    return bank.eval()


def run(bank: ExpertBank, expert: Tensor) -> Tensor:
    return bank.logits(bank(bank.embed(IDS, expert), MASK, expert).hidden, expert)


def merged(bank: ExpertBank, share: Tensor) -> nn.Module:
    """The base with one row's update in its weights."""
    lm = copy.deepcopy(bank.lm)
    for layer in (m for m in lm.modules() if hasattr(m, "lora_A")):
        a = layer.lora_A.expand(3, -1, -1)
        update = torch.einsum("e,eor,eri->oi", share, layer.lora_B, a)
        if layer.lora_shared_A is not None:
            update = update + layer.lora_shared_B[0] @ layer.lora_shared_A[0]
        layer.base_layer.weight.data += 2.0 * update
        layer.asleep = True
    return lm


@pytest.mark.parametrize("options", [{"shared": True}, {"shared_a": True}, {"shared": True, "shared_a": True}])
def test_rows_are_those_of_the_formula(options: dict[str, bool]) -> None:
    """The shared expert counts once, whatever the weights of the others, for they sum to 1."""
    bank = made(**options)
    share = torch.tensor([[1.0, 0, 0], [0.2, 0.5, 0.3], [0, 0.6, 0.4], [0, 0.1, 0.9]])
    for given in (EXPERT, share):
        weights = nn.functional.one_hot(given, 3).float() if given.ndim == 1 else given
        got = run(bank, given)
        for row, own in enumerate(weights):
            twin = ExpertBank(lm=base(), experts=1, rank=1, alpha=1.0, targets=LLAMA_TARGETS).eval()
            lm = merged(bank, own)
            for name, layer in twin.adapted().items():
                layer.base_layer.weight.data = lm.get_submodule(name).base_layer.weight.data
            for name, p in twin.lm.named_parameters():
                if "base_layer" not in name and "lora_" not in name:
                    p.data = bank.lm.get_parameter(name).data
            ids, one = IDS[row : row + 1], torch.tensor([0])
            expected = twin.logits(twin(twin.embed(ids, one), MASK[:1], one).hidden, one)
            torch.testing.assert_close(got[row : row + 1], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("options", [{"shared": True}, {"shared_a": True}])
def test_experts_leave_as_adapters_that_peft_reads(options: dict[str, bool], tmp_path: Path) -> None:
    from peft import PeftModel

    bank = made(**options)
    expected = run(bank, EXPERT)
    for e in range(3):
        bank.save_adapter(e, tmp_path / str(e))
        model = PeftModel.from_pretrained(type(bank.lm).from_pretrained(tmp_path / f"{e}-base"), tmp_path / str(e))
        with torch.no_grad():
            theirs = model(input_ids=IDS[e == EXPERT]).logits
        torch.testing.assert_close(expected[e == EXPERT], theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("options", [{"shared": True}, {"shared_a": True}])
def test_upcycling_is_exact(options: dict[str, bool]) -> None:
    bank = made(**options)
    first = run(bank, torch.zeros(4, dtype=torch.long))
    bank.upcycle(0)
    torch.testing.assert_close(run(bank, EXPERT), first)


def test_the_shared_parts_learn_from_every_row() -> None:
    bank = made(shared=True, shared_a=True)
    layer = next(iter(bank.adapted().values()))
    for e in range(3):
        loss = run(bank, torch.full((4,), e)).square().mean()
        for part in (layer.lora_A, layer.lora_shared_A, layer.lora_shared_B):
            assert torch.autograd.grad(loss, part, retain_graph=True)[0].abs().max() > 0


def test_an_adapter_of_others_has_no_place_where_a_is_shared(tmp_path: Path) -> None:
    made().save_adapter(1, tmp_path / "one")
    with pytest.raises(UserError, match="bank.shared_a=false"):
        made(shared_a=True).load_adapter(0, tmp_path / "one")


def test_a_frozen_bank_rests_only_without_a_shared_update() -> None:
    bank = made(shared=True).requires_grad_(False)
    for layer in bank.adapted().values():
        layer.lora_B.zero_()
    assert not bank.rest()
    for layer in bank.adapted().values():
        layer.lora_shared_B.zero_()
    assert bank.rest()
