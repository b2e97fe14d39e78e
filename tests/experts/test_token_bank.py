"""Token routing in adapted layers: against the formula, its invariants, decoding, losses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.models import batch_of, codecs, tiny_model
from torch import Tensor
from torch.nn import functional as F

from rsmoe.data.batch import Batch
from rsmoe.experts.grouped import routed
from rsmoe.experts.rows import TokenChoice
from rsmoe.experts.token import TokenBank
from rsmoe.model import RSMoE
from rsmoe.perception import Perception
from rsmoe.router.routing import Routing

EXPERTS = "expert=[theme,object,relation,vqa]"
END = codecs()[0].eos_id
assert END is not None


def made(*overrides: str, gates: float = 1.0) -> RSMoE:
    """A model whose gates tell tokens apart."""
    model = tiny_model("moe=token", "router=uniform", *overrides, experts=EXPERTS)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_gates" in name:
                p.copy_(gates * torch.randn(p.shape, generator=generator))
    return model


@pytest.fixture(scope="module", params=["bank.k=1", "bank.k=2"])
def model(request: pytest.FixtureRequest) -> RSMoE:
    return made(request.param)


def four() -> Batch:
    return batch_of("caption", "vqa")


def perceived(model: RSMoE, batch: Batch, weights: Tensor) -> Perception:
    routing = Routing(logits=weights.clamp_min(1e-9).log(), weights=weights, chosen=weights > 0)
    with torch.no_grad():
        return replace(model.perceive(batch), routing=routing)


def equal_experts(model: RSMoE) -> RSMoE:
    model.bank.upcycle(0)
    model.prompts.upcycle(0)
    return model


def log_probability(model: RSMoE, batch: Batch, weights: Tensor) -> Tensor:
    with torch.no_grad():
        return model.read(batch, perceived(model, batch, weights)).log_probability * batch.response_mask


@pytest.mark.parametrize(("experts", "k"), [(3, 1), (4, 1), (16, 1), (16, 2), (4, 2)])
def test_routed_is_the_formula_for_each_token(experts: int, k: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 50, 8, requires_grad=True)
    a, b = torch.randn(experts, 4, 8, requires_grad=True), torch.randn(experts, 12, 4, requires_grad=True)
    top, index = torch.randn(3, 50, experts, requires_grad=True).topk(k)
    weight = top.softmax(-1)
    choice = TokenChoice(logits=torch.zeros(3, 50, experts), index=index, weight=weight)
    expected = torch.zeros(3, 50, 12)
    for row in range(3):
        for t in range(50):
            for e, w in zip(index[row, t].tolist(), weight[row, t], strict=True):
                expected[row, t] = expected[row, t] + 2.0 * w * (b[e] @ a[e] @ x[row, t])
    given = routed(x, a, b, choice, 2.0)
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(
        torch.autograd.grad(given.square().sum(), (x, a, b, top), retain_graph=True),
        torch.autograd.grad(expected.square().sum(), (x, a, b, top)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=1e-3)


def test_equal_experts_are_the_dense_model(model: RSMoE) -> None:
    twin = equal_experts(made(f"bank.k={model.bank.k}"))
    batch = four()
    even = torch.full((len(batch), 4), 0.25)
    one = F.one_hot(torch.zeros(len(batch), dtype=torch.long), 4).float()
    torch.testing.assert_close(log_probability(twin, batch, even), log_probability(twin, batch, one))
    # and they are not where the experts differ
    assert (log_probability(model, batch, even) - log_probability(model, batch, one)).abs().max() > 0.1


@pytest.mark.parametrize("expert", range(4))
def test_a_share_of_one_is_that_expert(model: RSMoE, expert: int) -> None:
    """Through the gates, whose other experts are ruled out, and without them."""
    batch = four()
    one = F.one_hot(torch.full((len(batch),), expert), 4).float()
    perception = perceived(model, batch, one)
    rows = model.fusion.rows(perception.routing)
    assert rows.share is None
    with torch.no_grad():
        alone = model.read(batch, perception, rows=rows)
        gated = model.read(batch, perception, rows=replace(rows, share=one))
    assert gated.gates and not alone.gates
    mask = batch.response_mask
    torch.testing.assert_close(gated.log_probability[mask], alone.log_probability[mask])


def test_the_gates_choose_by_token(model: RSMoE) -> None:
    batch = four()
    with torch.no_grad():
        reading = model.read(batch)
    assert isinstance(model.bank, TokenBank)
    assert set(reading.gates) == set(model.bank.lora_gates)
    for routing in reading.gates.values():
        assert (routing.chosen.sum(1) == model.bank.k).all()
        torch.testing.assert_close(routing.weights.sum(1), torch.ones(len(routing.weights)))
    loads = torch.stack([routing.weights.mean(0) for routing in reading.gates.values()])
    assert (loads > 0.02).sum() > len(loads)  # several experts a gate, in the mean


def test_a_request_is_routed_before_its_tokens(model: RSMoE) -> None:
    """Tokens choose among the experts that their request was given."""
    batch = four()
    weights = torch.tensor([[0.4, 0.6, 0.0, 0.0]]).repeat(len(batch), 1).requires_grad_()
    reading = model.read(batch, perceived(model, batch, weights))
    for routing in reading.gates.values():
        assert not routing.weights[:, 2:].any()
    text = model.fusion.losses(model, batch, reading)["text"]
    (gradient,) = torch.autograd.grad(text + sum(model.bank.losses(reading.gates).values()), weights)
    assert gradient.isfinite().all() and gradient[:, :2].any()


@pytest.mark.parametrize("beams", [1, 3])
def test_decoding_over_a_cache_is_the_full_pass(model: RSMoE, beams: int) -> None:
    batch = four()
    answers = model.generate(batch, end_id=END, beams=beams, max_new=8)
    assert any(answers)
    if beams > 1:
        return
    longest = max(map(len, answers))
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.bool)
    for place, answer in enumerate(answers):
        ids[place, : len(answer)], mask[place, : len(answer)] = torch.tensor(answer), True
    # the full pass gives every written token the highest probability among all
    with torch.no_grad():
        perception = model.perceive(batch)
        rows = model.fusion.rows(perception.routing)
        start, start_mask, _ = model.start(batch, perception.prefix, rows)
        ids, mask = ids[rows.sample], mask[rows.sample]
        embeds = torch.cat([start, model.bank.embed(ids[:, :-1], rows.adapters)], dim=1)
        out = model.bank(embeds, torch.cat([start_mask, mask[:, :-1]], dim=1), rows.adapters)
        best = model.bank.logits(out.hidden[:, start.shape[1] - 1 :], rows.adapters).argmax(-1)
    assert torch.equal(best[mask], ids[mask])


def test_gates_learn_from_text_and_balance_with_one_expert_a_token() -> None:
    model, batch = made("bank.k=1").train(), four()
    reading = model.read(batch)
    text = model.fusion.losses(model, batch, reading)["text"]
    gates = list(model.bank.lora_gates.parameters())
    for loss in (text, model.bank.losses(reading.gates)["token_balance"]):
        assert all(g.abs().max() > 0 for g in torch.autograd.grad(loss, gates, retain_graph=True))


def test_balance_is_one_when_even_and_higher_when_not() -> None:
    bank = made().bank
    even = Routing.of(torch.zeros(8, 4), torch.eye(4, dtype=torch.bool).repeat(2, 1))
    one = Routing.of(torch.tensor([[9.0, 0, 0, 0]]).repeat(8, 1), torch.eye(4, dtype=torch.bool)[:1].repeat(8, 1))
    assert float(bank.losses({"a": even})["token_balance"]) == pytest.approx(1.0)
    assert float(bank.losses({"a": even, "b": one})["token_balance"]) == pytest.approx((1 + 4) / 2, rel=1e-2)
    assert bank.losses({}) == {}


def test_recomputed_activations_give_the_same_gradients() -> None:
    plain, again = made(), made("+bank.checkpointing=true")
    batch = four()
    for model in (plain, again):
        model.bank.train()  # the rest draws dropout
        reading = model.read(batch)
        (model.fusion.losses(model, batch, reading)["text"] + sum(model.bank.losses(reading.gates).values())).backward()
    theirs = dict(again.named_parameters())
    for name, p in plain.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(p.grad, theirs[name].grad, msg=name)
