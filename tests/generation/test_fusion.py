"""Fusion by rewriting: sub-answers of the aspects, then one caption out of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.models import batch_of, codecs, padded, tiny_model

from rsmoe.data.aspects import split_aspects
from rsmoe.errors import UserError
from rsmoe.experts.answer_states import answer_states
from rsmoe.generation.decoding import Decoding
from rsmoe.generation.mixture import Mixture, mix
from rsmoe.generation.rewrite import Rewrite
from rsmoe.model import RSMoE

EXPERTS = "expert=[theme,object,relation,vqa,rewriter]"
THEME, OBJECT, RELATION, VQA, REWRITER = range(5)
END = codecs()[0].eos_id
assert END is not None


@pytest.fixture
def model() -> RSMoE:
    """Captions go to theme, object and relation, questions to vqa; every token counts alike."""
    model = tiny_model("fusion=rewrite", "fusion.length_weight=1.0", "choice=top_k", "choice.k=1", experts=EXPERTS)
    assert isinstance(model.fusion, Rewrite)
    return model


def mixture_of(model: RSMoE, **options: float) -> Mixture:
    return Mixture(codec=codecs()[0], names=model.names, bank=model.bank, **options)


def teach(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes by the label, as a trained router would."""
    real = RSMoE.perceive
    monkeypatch.setattr(
        RSMoE, "perceive", lambda self, batch, **_: real(self, batch, also=self.serves_task[batch.task])
    )
    with torch.no_grad():
        model.router.gate.weight.zero_()
        model.router.gate.bias.zero_()
        model.router.gate.bias[VQA] = -2.0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["theme", "object"], "needs the expert 'rewriter' and two of theme, object, relation; the experts are"),
        (["theme", "vqa", "rewriter"], "expert=\\[theme,object,relation,vqa,rewriter\\]"),
    ],
)  # fmt: skip
def test_it_says_which_experts_it_needs(names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Rewrite(codec=codecs()[0], names=names, bank=tiny_model().bank)
    with pytest.raises(UserError, match=message.split(";")[0]):
        tiny_model("fusion=rewrite", experts=f"expert=[{','.join(names)}]")


@pytest.mark.parametrize(
    ("text", "theme", "objects", "relation"),
    [
        (
            "This is an airport. Four planes are parked. They stand next to a terminal. A road is grey.",
            "This is an airport.", "Four planes are parked. A road is grey.", "They stand next to a terminal.",
        ),
        ("A harbour.", "A harbour.", "A harbour.", "A harbour."),
        ("A harbour with ships", "A harbour with ships", "A harbour with ships", "A harbour with ships"),
        ("A park. Trees surround a pond!", "A park.", "A park.", "Trees surround a pond!"),
        ("", "", "", ""),
        (" ... !", "", "", ""),
    ],
)  # fmt: skip
def test_sentences_by_aspect(text: str, theme: str, objects: str, relation: str) -> None:
    assert split_aspects(text) == {"theme": theme, "object": objects, "relation": relation}


def test_losses_reach_aspects_and_rewriter(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    teach(model, monkeypatch)
    batch = batch_of("caption", "vqa")
    losses = model.fusion.losses(model, batch, model.read(batch))
    assert set(losses) == {"text", "aspect"}
    assert all(bool(torch.isfinite(v)) and v > 0 for v in losses.values())

    def trained(name: str) -> list[bool]:
        """Whether each expert's adapters get a gradient."""
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        grads = [p.grad for n, p in model.named_parameters() if "lora_B" in n]
        return [any(bool(g[e].any()) for g in grads if g is not None) for e in range(5)]

    text, aspect = trained("text"), trained("aspect")
    assert text[REWRITER] and text[VQA]
    assert aspect == [True, True, True, False, False]


def test_a_question_is_answered_by_mixture(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    teach(model, monkeypatch)
    monkeypatch.undo()
    with torch.no_grad():
        model.router.gate.bias[VQA] = 50.0
    batch = batch_of("vqa")
    reading = model.read(batch)
    losses = model.fusion.losses(model, batch, reading)
    assert set(losses) == {"text"}
    torch.testing.assert_close(losses, mixture_of(model).losses(model, batch, reading))


@pytest.mark.parametrize("power", [1.0, 0.5, 0.0])
def test_answers_weigh_by_their_length(model: RSMoE, power: float) -> None:
    batch = batch_of("vqa", "caption")
    with torch.no_grad():
        reading = model.read(batch)
        loss = -mix(reading.log_probability, reading.rows, len(batch))
        told = mixture_of(model, length_weight=power).losses(model, batch, reading)["text"]
    lengths = [int(m.sum()) for m in batch.response_mask]
    assert len(set(lengths)) > 1
    means = [float(loss[i, : lengths[i]].mean()) for i in range(len(batch))]
    weights = [n**power for n in lengths]
    mean = sum(w * x for w, x in zip(weights, means, strict=True)) / sum(weights)
    assert float(told) == pytest.approx(mean, rel=1e-5)


def test_by_hand(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    """One caption: the rewriter's loss is that of the whole text after the sub-answers and the instruction."""
    teach(model, monkeypatch)
    batch = batch_of("caption").take([0])
    codec = codecs()[0]
    with torch.no_grad():
        reading = model.read(batch)
        losses = model.fusion.losses(model, batch, reading)
        whole = codec.decode(batch.response_ids[0].tolist())
        parts = split_aspects(whole)
        ids = [i for a in ("theme", "object", "relation") for i in codec.encode(parts[a])]
        ids += batch.prompt_ids[0][batch.prompt_mask[0]].tolist()
        asked = replace(batch, prompt_ids=torch.tensor([ids]), prompt_mask=torch.ones(1, len(ids), dtype=torch.bool))
        rows = model.fusion._rows([(0, REWRITER)], torch.device("cpu"))
        start, mask, _ = model.start(asked, reading.perception.prefix, rows)
        p = answer_states(model.bank, start, mask, batch.response_ids, batch.response_mask, rows.expert).log_probability
        expected = -p[batch.response_mask].mean()
        torch.testing.assert_close(losses["text"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("power", [1.0, 0.0])
def test_all_texts_are_smoothed_and_weighed_by_length(
    smoothing: float, power: float, model: RSMoE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captions, sub-answers and questions, against one request at a time."""
    teach(model, monkeypatch)
    batch = batch_of("caption", "vqa")
    model.fusion.length_weight = power
    with torch.no_grad():
        together = model.fusion.losses(model, batch, model.read(batch), smoothing=smoothing)
        alone = [batch.take([i]) for i in range(len(batch))]
        parts = [model.fusion.losses(model, b, model.read(b), smoothing=smoothing) for b in alone]
        plain = model.fusion.losses(model, batch, model.read(batch))
    weights = [int(b.response_mask.sum()) ** power for b in alone]
    mean = sum(w * float(p["text"]) for w, p in zip(weights, parts, strict=True)) / sum(weights)
    assert float(together["text"]) == pytest.approx(mean, rel=1e-4)
    for name, value in together.items():
        assert (float(value) != pytest.approx(float(plain[name]), rel=1e-3)) == (smoothing > 0), name
    if power == 0:  # three sub-answers a caption, each counts alike
        own = [float(p["aspect"]) for p in parts if "aspect" in p]
        assert float(together["aspect"]) == pytest.approx(sum(own) / len(own), rel=1e-4)


def test_the_rewriter_reads_what_the_aspects_wrote(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    teach(model, monkeypatch)
    heard: list[list[list[int]]] = []
    real = Rewrite._asked

    def listen(self: Rewrite, batch: object, places: object, sub_answers: list[list[int]]) -> object:
        heard.append(sub_answers)
        return real(self, batch, places, sub_answers)  # type: ignore[arg-type]

    monkeypatch.setattr(Rewrite, "_asked", listen)
    batch = batch_of("caption", "vqa")  # captions at 0 and 2, questions at 1 and 3
    first = model.generate(batch, end_id=END, max_new=5)
    assert [len(h) for h in heard] == [2]
    with torch.no_grad():
        for layer in model.bank.adapted().values():
            layer.lora_B[RELATION] += 0.5 * torch.randn(layer.lora_B[RELATION].shape)
    second = model.generate(batch, end_id=END, max_new=5)
    assert heard[0] != heard[1]
    assert (first[1], first[3]) == (second[1], second[3])
    # the caption is the rewriter's: without its own weights it is another
    with torch.no_grad():
        for layer in model.bank.adapted().values():
            layer.lora_B[REWRITER] = 0.5 * torch.randn(layer.lora_B[REWRITER].shape)
    third = model.generate(batch, end_id=END, max_new=5)
    assert heard[2] == heard[1] and third[0] != second[0]
    assert (third[1], third[3]) == (second[1], second[3])


def test_neighbours_and_padding_change_nothing(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    teach(model, monkeypatch)
    batch = batch_of("caption", "vqa")
    for beams in (1, 2):
        together = model.generate(batch, end_id=END, beams=beams, max_new=5)
        assert model.generate(padded(batch, prompt=4, instruction=2), end_id=END, beams=beams, max_new=5) == together
        for place in range(len(batch)):
            alone = model.generate(batch.take([place]), end_id=END, beams=beams, max_new=5)
            assert alone[0] == together[place]
    with torch.no_grad():
        whole = model.fusion.losses(model, batch, model.read(batch))
        parts = [model.fusion.losses(model, b, model.read(b)) for b in (batch.take([i]) for i in range(len(batch)))]
    tokens = batch.response_mask.sum(1)
    expected = sum(float(p["text"]) * int(n) for p, n in zip(parts, tokens, strict=True)) / int(tokens.sum())
    assert abs(float(whole["text"]) - expected) < 1e-5


def test_every_request_has_its_own_settings(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sub-answers are written greedily, within the longest length of their own request, and the answer is sampled."""
    teach(model, monkeypatch)
    heard: list[list[list[int]]] = []
    real = Rewrite._asked
    monkeypatch.setattr(Rewrite, "_asked", lambda self, *more: [heard.append(more[2]), real(self, *more)][1])
    batch = batch_of("caption", "vqa").take([0, 0, 2, 1])
    each = [
        Decoding(max_new=5),
        Decoding(max_new=5, temperature=2.0, seed=1),
        Decoding(max_new=2, temperature=2.0, seed=1),
        Decoding(max_new=3, temperature=2.0, seed=1),
    ]
    together = model.generate(batch, end_id=END, max_new=9, each=each)
    sub_answers = heard[0]
    assert sub_answers[0] == sub_answers[1] and [len(s) for s in sub_answers] == [15, 15, 6]
    assert together[0] != together[1] and [len(ids) for ids in together] == [5, 5, 2, 3]
    assert together[0] == model.generate(batch, end_id=END, max_new=5)[0]
    for place in range(4):
        (alone,) = model.generate(batch.take([place]), end_id=END, max_new=9, each=[each[place]])
        assert alone == together[place]


def test_the_dense_model_answers_alone(model: RSMoE) -> None:
    model.dense = True
    batch = batch_of("caption", "vqa")
    with torch.no_grad():
        reading = model.read(batch)
        loss = model.fusion.losses(model, batch, reading)["text"]
        mask = batch.response_mask
        expected = -(mix(reading.log_probability, reading.rows, len(batch)) * mask).sum() / mask.sum()
    torch.testing.assert_close(loss, expected)
    assert len(model.generate(batch, end_id=END, max_new=4)) == len(batch)
