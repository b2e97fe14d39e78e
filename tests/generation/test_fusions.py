"""Fusions of one distribution a token: mixture and weights, against formulas on one row at a time."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from support.models import batch_of, codecs, padded, tiny_model
from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch, confidences
from rsmoe.generation.mixture import Mixture
from rsmoe.model import RSMoE
from rsmoe.perception import Perception
from rsmoe.router.routing import Routing, Rows

EXPERTS = "expert=[theme,object,relation,vqa]"
KINDS = ("mixture", "weights")
NEW = KINDS[1:]
END = codecs()[0].eos_id
assert END is not None
# of a caption, two questions and a caption: one, two, three and four experts
WEIGHTS = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.7, 0.0, 0.0, 0.3], [0.2, 0.5, 0.3, 0.0], [0.1, 0.2, 0.3, 0.4]])


def made(kind: str, *overrides: str, experts: str = EXPERTS) -> RSMoE:
    return tiny_model(f"fusion={kind}", *overrides, experts=experts)


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> RSMoE:
    return made(request.param)


def four() -> Batch:
    return batch_of("caption", "vqa")


@torch.no_grad()
def routed(model: RSMoE, batch: Batch, weights: Tensor, chosen: Tensor | None = None) -> Perception:
    routing = Routing(logits=weights.clamp_min(1e-9).log(), weights=weights, chosen=weights > 0)
    return replace(model.perceive(batch), routing=routing if chosen is None else replace(routing, chosen=chosen))


@torch.no_grad()
def loss_of(model: RSMoE, batch: Batch, perception: Perception | None = None) -> float:
    return float(model.fusion.losses(model, batch, model.read(batch, perception), smoothing=0.1)["text"])


Reference = Callable[[list[int]], tuple[Tensor, Tensor]]
"""n tokens -> (n + 1, V) log-probabilities of the next after each of them, and (n + 1,) what smoothing adds."""


@torch.no_grad()
def reference(model: RSMoE, kind: str, batch: Batch, perception: Perception, b: int) -> Reference:
    """The formula of a fusion, one expert of one request at a time, without a cache."""
    weights = perception.routing.weights[b]
    one, prefix = batch.take([b]), perception.prefix[torch.tensor([b])]

    def alone(source: RSMoE, e: int, ids: list[int]) -> Tensor:
        row = Rows(sample=torch.tensor([0]), expert=torch.tensor([e]), weight=torch.ones(1))
        start, mask, _ = source.start(one, prefix, row)
        words = torch.tensor([ids], dtype=torch.long)
        embeds = torch.cat([start, source.bank.embed(words, row.expert)], dim=1)
        seen = torch.cat([mask, torch.ones_like(words, dtype=torch.bool)], dim=1)
        hidden = source.bank(embeds, seen, row.expert).hidden[:, start.shape[1] - 1 :]
        return source.bank.logits(hidden, row.expert)[0].log_softmax(-1)

    merged = copy.deepcopy(model)
    if kind == "weights":
        for layer in merged.bank.adapted().values():
            update = torch.einsum("e,eor,eri->oi", weights, layer.lora_B, layer.lora_A)
            layer.base_layer.weight += layer.scale * update
            layer.lora_B.zero_()
        merged.prompts.base[0] = (weights[:, None, None] * model.prompts.base).sum(0)

    @torch.no_grad()
    def told(ids: list[int]) -> tuple[Tensor, Tensor]:
        if kind == "weights":
            log_p = alone(merged, 0, ids)
            return log_p, log_p.mean(-1)
        chosen = weights.nonzero().flatten().tolist()
        each = torch.stack([alone(model, e, ids) for e in chosen])
        share = weights[chosen][:, None].expand(each.shape[:2])  # (E', n + 1)
        return (share[..., None] * each.exp()).sum(0).log(), (share * each.mean(-1)).sum(0)

    return told


def search(told: Reference, end: int, beams: int, most: int) -> list[int]:
    """Beam search in lists; with one beam, greedy."""
    going: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for step in range(1, most + 1):
        found = [
            (score + float(p), [*text, word])
            for score, text in going
            for word, p in enumerate(told(text)[0][-1].tolist())
        ]
        found = sorted(found, key=lambda item: -item[0])[: 2 * beams]
        ended += [(score / step, text[:-1]) for score, text in found[:beams] if text[-1] == end]
        going = [item for item in found if item[1][-1] != end][:beams]
        if len(ended) >= beams and max(ended)[0] >= going[0][0] / step:
            break
    return max(ended)[1] if ended else going[0][1]


CASES = [(kind, bank) for kind in KINDS for bank in ("shared", "separate") if (kind, bank) != ("weights", "separate")]


@pytest.mark.parametrize(("kind", "bank"), CASES)
def test_the_formula_trained_and_decoded(kind: str, bank: str) -> None:
    """Requests with one to four experts in one batch: loss, how sure it is, and texts, greedy and with beams."""
    model, batch = made(kind, f"bank={bank}", "fusion.length_weight=0.5"), four()
    perception = routed(model, batch, WEIGHTS)
    references = [reference(model, kind, batch, perception, b) for b in range(4)]
    with torch.no_grad():
        log_p, _ = model.fusion.log_probability(model, batch, model.read(batch, perception))
    total, sure, tokens = 0.0, [], 0.0
    for b, told in enumerate(references):
        ids = batch.response_ids[b][batch.response_mask[b]]
        expected, flat = told(ids[:-1].tolist())
        expected = expected.gather(1, ids[:, None])[:, 0]
        torch.testing.assert_close(log_p[b, : len(ids)], expected, atol=1e-5, rtol=1e-5)
        weight = len(ids) ** 0.5
        total, tokens = total + weight * float((-0.9 * expected - 0.1 * flat).mean()), tokens + weight
        sure.append(float(expected.mean()))
    assert loss_of(model, batch, perception) == pytest.approx(total / tokens, abs=1e-5)
    codec = codecs()[0]
    texts = [codec.decode(ids.tolist()) for ids in batch.response_ids]
    assert confidences(model, codec, batch, perception, texts) == pytest.approx(sure, abs=1e-5)
    # a random model never says its end token: take a word that it says
    endless = model.generate(batch, perception, end_id=END, max_new=6)
    end = Counter(word for ids in endless for word in set(ids[2:])).most_common(1)[0][0]
    for beams in (1, 3):
        written = model.generate(batch, perception, end_id=end, beams=beams, max_new=6)
        assert written == [search(told, end, beams, 6) for told in references]


def test_fusions_differ() -> None:
    """Of the same weights: what the tests above hold equal could be two names of one thing."""
    batch = four()
    losses = {kind: loss_of(m := made(kind), batch, routed(m, batch, WEIGHTS)) for kind in KINDS}
    values = sorted(losses.values())
    assert min(b - a for a, b in pairwise(values)) > 1e-3, losses


@pytest.mark.parametrize("kind", NEW)
def test_equal_experts_are_the_dense_model(kind: str) -> None:
    model, batch = made(kind), four()
    apart = loss_of(model, batch, routed(model, batch, WEIGHTS))
    model.dense = True
    dense = loss_of(model, batch)
    written = [model.generate(batch, end_id=END, beams=beams, max_new=6) for beams in (1, 3)]
    assert abs(apart - dense) > 0.01
    model.bank.upcycle(0)
    model.prompts.upcycle(0)
    model.dense = False
    perception = routed(model, batch, WEIGHTS)
    assert abs(loss_of(model, batch, perception) - dense) < 1e-5
    for beams, expected in zip((1, 3), written, strict=True):
        assert model.generate(batch, perception, end_id=END, beams=beams, max_new=6) == expected


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("expert", [0, 2])
def test_all_weight_on_one_of_several_is_that_expert(kind: str, expert: int) -> None:
    """Against the expert alone in the plain mixture, which runs it as a row of its own."""
    model, plain, batch = made(kind), made("mixture"), four()
    weights = torch.nn.functional.one_hot(torch.full((4,), expert), 4).float()
    several = torch.tensor([True, True, True, False]).expand(4, 4)
    assert len(routed(model, batch, weights, several).routing.rows().sample) == 12
    ours, theirs = routed(model, batch, weights, several), routed(plain, batch, weights)
    assert abs(loss_of(model, batch, ours) - loss_of(plain, batch, theirs)) < 1e-5
    for beams in (1, 3):
        written, expected = (
            m.generate(batch, p, end_id=END, beams=beams, max_new=6) for m, p in ((model, ours), (plain, theirs))
        )
        assert written == expected
    other = torch.nn.functional.one_hot(torch.full((4,), 1), 4).float()
    assert abs(loss_of(plain, batch, routed(plain, batch, other)) - loss_of(plain, batch, theirs)) > 0.01


def test_neighbours_and_padding_change_nothing(model: RSMoE) -> None:
    batch = four()
    perception = routed(model, batch, WEIGHTS)
    wide = padded(batch, prompt=4, response=3, instruction=2)
    assert abs(loss_of(model, wide, perception) - loss_of(model, batch, perception)) < 1e-5
    for beams in (1, 2):
        together = model.generate(batch, perception, end_id=END, beams=beams, max_new=6)
        for place in range(4):
            alone = batch.take([place])
            own = routed(model, alone, WEIGHTS[[place]])
            assert model.generate(alone, own, end_id=END, beams=beams, max_new=6) == [together[place]]


def test_the_loss_teaches_router_experts_and_prompts(model: RSMoE) -> None:
    batch = four()
    perception = model.perceive(batch)
    assert int(perception.routing.chosen.sum()) > len(batch)
    loss = model.fusion.losses(model, batch, model.read(batch, perception), smoothing=0.1)["text"]
    names = ["router.gate.weight", "prompts.base", *(n for n, _ in model.named_parameters() if "lora_B" in n)]
    gradients = torch.autograd.grad(loss, [model.get_parameter(n) for n in names])
    assert all(bool(g.isfinite().all()) and g.abs().max() > 1e-6 for g in gradients)
    several = perception.routing.chosen[perception.routing.chosen.sum(1) > 1].any(0).nonzero().flatten().tolist()
    assert len(several) > 1
    assert all(bool(gradients[1][e].any()) and bool(gradients[2][e].any()) for e in several)


@pytest.mark.parametrize("kind", NEW)
def test_the_gradient_of_the_weights_is_that_of_small_steps(kind: str) -> None:
    model, batch = made(kind), four()
    perception = routed(model, batch, WEIGHTS.clone())

    def loss(weights: Tensor) -> Tensor:
        routing = replace(perception.routing, weights=weights)
        reading = model.read(batch, replace(perception, routing=routing))
        return model.fusion.losses(model, batch, reading, smoothing=0.1)["text"]

    weights = perception.routing.weights.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(weights), weights)
    for b, e in ((1, 0), (2, 1), (3, 3)):
        step = torch.zeros_like(weights)
        step[b, e] = 1e-2
        with torch.no_grad():
            slope = float(loss(weights + step) - loss(weights - step)) / 2e-2
        assert float(gradient[b, e]) == pytest.approx(slope, rel=2e-2, abs=1e-4)
        assert abs(slope) > 1e-3


def test_weights_run_one_row_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = made("weights"), four()
    perception = routed(model, batch, WEIGHTS)
    rows: list[int] = []
    real = model.bank.forward

    def counted(embeds: Tensor, *args: Any, **options: Any) -> Any:
        rows.append(len(embeds))
        return real(embeds, *args, **options)

    monkeypatch.setattr(model.bank, "forward", counted)
    monkeypatch.setattr("rsmoe.experts.answer_states.by_length", lambda starts, _: [torch.arange(len(starts))])
    model.read(batch, perception)
    model.generate(batch, perception, end_id=END, max_new=3)
    assert rows == [4] * 4
    rows.clear()
    plain = made("mixture").fusion
    monkeypatch.setattr(model, "fusion", plain)
    model.read(batch, perception)
    assert rows == [10]


def test_requests_of_one_expert_each_are_not_summed() -> None:
    """The dense stage, and an expert that is asked for by name, run the products of the mixture."""
    model, batch = made("weights"), four()
    weights = torch.eye(4)[[3, 0, 0, 2]]
    rows = model.fusion.rows(routed(model, batch, weights).routing)
    assert rows.share is None and rows.expert.tolist() == [0, 0, 2, 3] and rows.sample.tolist() == [1, 2, 3, 0]
    model.dense = True
    assert model.fusion.rows(model.perceive(batch).routing).share is None


@pytest.mark.parametrize("prompts", ["template", "text"])
def test_written_prompts_are_those_of_the_expert_that_weighs_most(prompts: str) -> None:
    model, batch = made("weights", f"prompts={prompts}"), four()
    perception = routed(model, batch, WEIGHTS)
    rows = model.fusion.rows(perception.routing)
    assert dict(zip(rows.sample.tolist(), rows.expert.tolist(), strict=True)) == {0: 1, 1: 0, 2: 1, 3: 3}
    with torch.no_grad():
        start, mask, _ = model.start(batch, perception.prefix, rows)
        alone, seen, _ = model.start(batch, perception.prefix, replace(rows, share=None))
    assert torch.equal(start, alone) and torch.equal(mask, seen)
    assert len(model.generate(batch, perception, end_id=END, beams=2, max_new=3)) == 4


def test_weights_need_one_language_model() -> None:
    message = "fusion=weights sums .* one model for each expert. Type bank=shared, or fusion=mixture$"
    with pytest.raises(UserError, match=message):  # one line: the dot matches no other
        tiny_model("fusion=weights", "bank=separate", experts=EXPERTS)


def test_heads_answer_under_every_fusion(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks and embeddings of some of the requests, whose rows are read again."""
    kind = type(model.fusion)
    heads = tiny_model(experts="expert=[theme,vqa,mask,retrieval]")
    heads.fusion = kind(codec=codecs()[0], names=heads.names, bank=heads.bank)
    batch, codec = batch_of(inference=True).take([0, 3, 4]), codecs()[0]
    heads_of = [7, codec.token_id("[SEG]"), codec.token_id("[RET]")]
    monkeypatch.setattr(heads, "generate", lambda *_, **__: [[7], heads_of, heads_of])
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.2, 0.5, 0.3], [0.4, 0.1, 0.2, 0.3]])
    found = answer_batch(heads, codec, batch, beams=1, max_new=4, perception=routed(heads, batch, weights))
    assert [p.mask is None for p in found] == [True, False, False]
    assert [p.image_embedding is None for p in found] == [True, False, False]
    alone = batch.take([2])
    monkeypatch.setattr(heads, "generate", lambda *_, **__: [heads_of])
    (own,) = answer_batch(heads, codec, alone, beams=1, max_new=4, perception=routed(heads, alone, weights[[2]]))
    torch.testing.assert_close(
        torch.tensor(own.image_embedding), torch.tensor(found[2].image_embedding), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("kind", NEW)
def test_each_answers_alone_where_the_dense_model_does(kind: str) -> None:
    model, batch = made(kind, "moe.adapters=1"), four()
    plain = Mixture(codec=codecs()[0], names=model.names, bank=model.bank, length_weight=0.5)
    reading = model.read(batch)
    torch.testing.assert_close(model.fusion.losses(model, batch, reading), plain.losses(model, batch, reading))
