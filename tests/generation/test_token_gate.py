"""The gate of fusion=token: what supervises it, where it trains, and that a checkpoint holds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.composed import plain
from support.models import codecs, collate, requests, tiny_model
from support.runs import DENSE, EXPERTS, run

from rsmoe.build import load_run
from rsmoe.config import compose
from rsmoe.data.aspects import ASPECTS, split_aspects, token_aspects
from rsmoe.data.batch import Batch
from rsmoe.data.sample import Sample
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.generation.token import TokenMixture
from rsmoe.model import RSMoE
from rsmoe.perception import Perception
from rsmoe.router.routing import Routing
from rsmoe.settings.stage import Stage, stages_of
from rsmoe.training.run import load_checkpoint
from rsmoe.training.stage_checks import fitted, trainable

TEXT = "a grey harbour . two ships . boats lie next to the pier . a road"
THEME, OBJECT, RELATION, VQA = range(4)
EXPERT_NAMES = "expert=[theme,object,relation,vqa]"


def test_tokens_have_the_aspect_of_their_sentence() -> None:
    codec = codecs()[0]
    assert codec.eos_id is not None
    ids = [*codec.encode(TEXT), codec.eos_id, codec.pad_id]
    told = token_aspects(codec, ids)
    assert told == ["theme"] * 4 + ["object"] * 3 + ["relation"] * 7 + ["object"] * 2 + [None] * 2
    for aspect, said in split_aspects(TEXT).items():
        assert codec.decode([i for i, a in zip(ids, told, strict=True) if a == aspect]) == said
    assert token_aspects(codec, []) == [] and token_aspects(codec, codec.encode(". . ?")) == [None] * 3


@pytest.mark.parametrize("text", ["one. two", "A park! Trees surround a pond? Yes"])
def test_every_word_of_a_description_has_one_aspect(text: str) -> None:
    codec = TextCodec.fit([text])
    ids = codec.encode(text)
    told, spoken = token_aspects(codec, ids), codec.decode(ids)
    assert None not in told
    parts = split_aspects(spoken)
    for aspect in set(told) - {None}:
        assert codec.decode([i for i, a in zip(ids, told, strict=True) if a == aspect]) == parts[aspect]


def described(*rows: tuple[str, str]) -> Batch:
    """Requests of a task each, all on the same picture."""
    picture = requests()[0].images
    made = [
        Sample(id=str(n), images=picture, instruction="describe", responses=(text,), task=task, source="hand")
        for n, (task, text) in enumerate(rows)
    ]
    return collate()([(sample, 1) for sample in made])


def routed(model: RSMoE, batch: Batch, weights: list[list[float]]) -> Perception:
    shares = torch.tensor(weights)
    routing = Routing(logits=shares.clamp_min(1e-9).log(), weights=shares, chosen=shares > 0)
    return replace(model.perceive(batch), routing=routing)


def gated(*overrides: str, experts: str = EXPERT_NAMES) -> tuple[RSMoE, TokenMixture]:
    model = tiny_model("fusion=token", *overrides, experts=experts)
    assert isinstance(model.fusion, TokenMixture)
    return model, model.fusion


def test_the_loss_of_aspects_by_hand() -> None:
    """Of five requests two have tokens that count: descriptions which an aspect's expert answers with another one."""
    model, fusion = gated()
    batch = described(("caption", TEXT), ("caption", TEXT), ("caption", TEXT), ("caption", TEXT), ("vqa", "two ships"))
    weights = [
        [0.2, 0.5, 0.3, 0.0],
        [0.0, 0.6, 0.0, 0.4],  # objects alone
        [1.0, 0.0, 0.0, 0.0],  # nothing to choose from
        [0.0, 0.0, 0.0, 1.0],
        [0.4, 0.0, 0.0, 0.6],  # an answer is no description, whoever gives it
    ]
    with torch.no_grad():
        fusion.u.copy_(0.3 * torch.randn(len(fusion.u), generator=torch.Generator().manual_seed(1)))
        reading = model.read(batch, routed(model, batch, weights))
        losses = fusion.losses(model, batch, reading)
    aspects = token_aspects(codecs()[0], batch.response_ids[0].tolist())
    rows = list(zip(reading.rows.sample.tolist(), reading.rows.expert.tolist(), strict=True))
    found = []
    for b in (0, 1):
        own = [r for r, (sample, _) in enumerate(rows) if sample == b]
        score = reading.hidden[own] @ fusion.u + torch.tensor([weights[b][rows[r][1]] for r in own]).log()[:, None]
        gate = score.softmax(0)  # (experts, L)
        for t, aspect in enumerate(aspects):
            for place, r in enumerate(own):
                if aspect is not None and ASPECTS.index(aspect) == rows[r][1]:
                    found.append(-gate[place, t].log())
    assert len(found) == 16 + 5
    torch.testing.assert_close(losses["aspect"], torch.stack(found).mean(), atol=1e-5, rtol=1e-5)


def test_nothing_to_supervise_is_no_loss() -> None:
    model, fusion = gated()
    batch = described(("caption", TEXT), ("vqa", "two ships"))
    weights = [[1.0, 0.0, 0.0, 0.0], [0.4, 0.0, 0.0, 0.6]]
    assert set(fusion.losses(model, batch, model.read(batch, routed(model, batch, weights)))) == {"text"}
    few, alone = gated(experts="expert=[theme,vqa]")
    assert alone.terms == {}
    reading = few.read(batch, routed(few, batch, [[0.5, 0.5], [0.5, 0.5]]))
    assert set(alone.losses(few, batch, reading)) == {"text"}


def test_supervision_gives_each_expert_its_words() -> None:
    """The loss of aspects alone, on u and on nothing else."""
    model, fusion = gated()
    batch = described(("caption", TEXT))
    with torch.no_grad():
        reading = model.read(batch, routed(model, batch, [[0.4, 0.3, 0.3, 0.0]]))
    optimizer = torch.optim.Adam([fusion.u], lr=0.1)
    losses = []
    for _ in range(60):
        loss = fusion.losses(model, batch, reading)["aspect"]
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 1.0 and losses[-1] < 0.5 * losses[0]
    gate = fusion.log_gate(reading.hidden, reading.rows, 1).exp()
    own = fusion.aspect_rows(model, batch, reading.rows)
    torch.testing.assert_close(gate.sum(0), torch.ones(gate.shape[1]))
    assert gate[own].mean() > 0.7


def test_the_loss_of_aspects_is_off_until_it_has_a_weight() -> None:
    model = gated()[0]
    stage = Stage(name="x", steps=1, train=["fusion"])
    assert "aspect" not in fitted(model, stage).losses
    assert fitted(gated("fusion.aspect=0.3")[0], stage).losses["aspect"] == 0.3
    weighed = replace(stage, losses={"text": 1.0, "aspect": 0.5})
    assert fitted(model, weighed).losses["aspect"] == 0.5
    with pytest.raises(UserError, match=r"stage\.x\.losses\.aspect=0\.5: unknown loss 'aspect'"):
        fitted(tiny_model(experts=EXPERT_NAMES), replace(weighed, train=["router"]))
    with pytest.raises(UserError, match=r"stage\.x\.losses\.aspect=0\.5: unknown loss 'aspect'"):
        fitted(gated(experts="expert=[theme,vqa]")[0], weighed)
    with pytest.raises(UserError, match=r"fusion\.aspect=0\.3 needs two of .*; the experts are theme, vqa\. Type"):
        gated("fusion.aspect=0.3", experts="expert=[theme,vqa]")


@pytest.mark.parametrize(("schedule", "name"), [("rsmoe_two_stage", "experts"), ("pretrained", "expert_adapters")])
def test_the_gate_trains_with_the_experts(schedule: str, name: str) -> None:
    config = plain(compose([f"schedule={schedule}", "fusion=token"]))
    stage = next(s for s in stages_of(config) if s.name == name)
    assert "fusion.u" in trainable(gated()[0], stage)
    assert not any(n.startswith("fusion.") for n in trainable(tiny_model(experts=EXPERT_NAMES), stage))


def test_a_run_trains_the_gate_and_its_checkpoint_holds_it(tmp_path: Path) -> None:
    experts = replace(EXPERTS, train=[*EXPERTS.train, "fusion"], losses=dict(EXPERTS.losses))
    model, _ = run(tmp_path, DENSE, experts, overrides=("fusion=token",))
    assert isinstance(model.fusion, TokenMixture) and model.fusion.u.abs().max() > 0
    dense = load_checkpoint(tmp_path / "checkpoints" / "1-dense.ckpt")["state_dict"]
    assert not dense["model.fusion.u"].any()  # one expert leaves nothing to choose
    rebuilt, _, _ = load_run(load_checkpoint(tmp_path / "checkpoints" / "2-experts.ckpt"))
    assert isinstance(rebuilt.fusion, TokenMixture) and torch.equal(rebuilt.fusion.u, model.fusion.u)
