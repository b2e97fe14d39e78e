"""The one path of the model: training equals generation, neighbours and labels change nothing, experts are a set."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.models import batch_of, codecs, padded, tiny_model
from torch import Tensor

from rsmoe.build import build_model, load_weights
from rsmoe.data.batch import Batch
from rsmoe.data.tasks import task_names
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch, prompt_words
from rsmoe.experts.lengths import by_length
from rsmoe.generation.decoding import mixed_log_probability
from rsmoe.generation.mixture import mix
from rsmoe.model import RSMoE
from rsmoe.perception import Reading
from rsmoe.router.routing import Rows

END = codecs()[0].eos_id
assert END is not None


@pytest.fixture(scope="module")
def model() -> RSMoE:
    return tiny_model()


@pytest.fixture(scope="module")
def separate() -> RSMoE:
    return tiny_model("bank=separate", experts="expert=[theme,object,vqa,change]")


def mixture(model: RSMoE, batch: Batch) -> Tensor:
    """(B, Lr) log-probability of each response token, teacher-forced."""
    with torch.no_grad():
        reading = model.read(batch)
    return mix(reading.log_probability, reading.rows, len(batch)).masked_fill(~batch.response_mask, 0.0)


@torch.no_grad()
def stepwise(model: RSMoE, batch: Batch) -> Tensor:
    """The same by the calls of `decode`: one token at a time through the key-value cache."""
    perception = model.perceive(batch)
    rows = perception.routing.rows()
    embeds, seen, _ = model.start(batch, perception.prefix, rows)
    out = model.bank(embeds, seen, rows.expert, cache="new")
    told = []
    for step in range(batch.response_ids.shape[1]):
        logits = model.bank.logits(out.hidden[:, -1], rows.expert)
        words = batch.response_ids[:, step]
        p = mixed_log_probability(logits, rows, len(batch), 1)[:, 0]  # (B, V)
        told.append(p.gather(1, words[:, None])[:, 0])
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
        word = model.bank.embed(words[rows.sample][:, None], rows.expert)
        out = model.bank(word, seen, rows.expert, cache=out.cache)
    return torch.stack(told, dim=1).masked_fill(~batch.response_mask, 0.0)


@pytest.mark.parametrize("bank", ["model", "separate"])
def test_training_and_generation_share_one_path(bank: str, request: pytest.FixtureRequest) -> None:
    model: RSMoE = request.getfixturevalue(bank)
    tasks = task_names() if bank == "model" else task_names()[:3]
    batch = batch_of(*tasks)
    teacher = mixture(model, batch)
    assert teacher.min() < -1.0  # nothing is trivially certain
    torch.testing.assert_close(stepwise(model, batch), teacher, atol=1e-5, rtol=1e-5)


def test_the_path_with_a_start_token_is_one_too() -> None:
    model = tiny_model()
    plain = mixture(model, batch_of())
    model.bos_id = codecs()[0].bos_id
    started = mixture(model, batch_of())
    assert (plain - started).abs().max() > 0.01
    torch.testing.assert_close(stepwise(model, batch_of()), started, atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing(model: RSMoE) -> None:
    batch = batch_of()
    wide = padded(batch, prompt=5, response=4, instruction=3)
    length = batch.response_ids.shape[1]
    torch.testing.assert_close(mixture(model, wide)[:, :length], mixture(model, batch), atol=1e-5, rtol=1e-5)
    assert model.generate(wide, end_id=END, max_new=8) == model.generate(batch, end_id=END, max_new=8)


def test_neighbours_in_the_batch_change_nothing(model: RSMoE) -> None:
    batch = batch_of()  # samples of one date beside pairs
    assert sorted(set(batch.frames.tolist())) == [1, 2]
    together = mixture(model, batch)
    written = model.generate(batch, end_id=END, beams=2, max_new=8)
    for place in range(len(batch)):
        alone = batch.take([place])
        alone = replace(alone, pixels=alone.pixels[:, : int(alone.frames)])  # no padded date either
        torch.testing.assert_close(mixture(model, alone)[0], together[place], atol=1e-5, rtol=1e-5)
        assert model.generate(alone, end_id=END, beams=2, max_new=8)[0] == written[place]


def test_short_and_long_rows_run_apart_with_the_same_numbers(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = padded(batch_of(), prompt=30, response=40)
    long = replace(batch, response_mask=batch.response_mask.clone(), prompt_mask=batch.prompt_mask.clone())
    long.response_mask[0] = True  # one long answer beside short ones
    long.prompt_mask[1] = True  # and one long prompt
    seen: list[int] = []

    def spy(starts: torch.Tensor, answers: torch.Tensor) -> list[torch.Tensor]:
        parts = by_length(starts, answers)
        seen.append(len(parts))
        return parts

    monkeypatch.setattr("rsmoe.experts.answer_states.by_length", spy)
    split = mixture(model, long)
    assert seen[0] > 1
    monkeypatch.setattr("rsmoe.experts.answer_states.by_length", lambda starts, answers: [torch.arange(len(starts))])
    torch.testing.assert_close(split, mixture(model, long), atol=1e-5, rtol=1e-5)


def test_padded_dates_are_never_seen(model: RSMoE) -> None:
    batch = batch_of()
    noisy = batch.pixels.clone()
    noisy[batch.frames == 1, 1] = 1e3
    torch.testing.assert_close(mixture(model, replace(batch, pixels=noisy)), mixture(model, batch))
    with torch.no_grad():
        pyramid = model.see(batch).pyramid
        last = model.see(replace(batch.take([2]), pixels=batch.pixels[[2]][:, 1:], frames=torch.tensor([1]))).pyramid
    torch.testing.assert_close(pyramid[0][2], last[0][0])  # the pyramid is that of the later date


def test_swapping_the_dates_changes_the_answer(model: RSMoE) -> None:
    pairs = batch_of("change_caption")
    swapped = replace(pairs, pixels=pairs.pixels.flip(1))
    assert (mixture(model, pairs) - mixture(model, swapped)).abs().max() > 1e-3


@pytest.mark.parametrize("experts", ["expert=[theme,object,vqa,change]", "expert=[theme,vqa,change,rewriter]"])
@pytest.mark.parametrize("bank", ["shared", "separate"])
def test_upcycled_experts_equal_the_dense_model(bank: str, experts: str) -> None:
    """The first step of stage 2 has the loss of the dense model that stage 1 left."""
    model = tiny_model(f"bank={bank}", experts=experts)
    batch = batch_of("caption", "vqa", "change_caption")
    apart = mixture(model, batch)
    model.dense = True
    dense, loss = mixture(model, batch), text_loss(model, batch)
    written = model.generate(batch, end_id=END, beams=2, max_new=6)
    assert (apart - dense).abs().max() > 0.05
    model.bank.upcycle(0)
    model.prompts.upcycle(0)
    model.dense = False
    assert model.perceive(batch).routing.chosen.sum() > len(batch)  # several experts answer each
    torch.testing.assert_close(mixture(model, batch), dense, atol=1e-5, rtol=1e-5)
    assert abs(text_loss(model, batch) - loss) <= 1e-5
    assert model.generate(batch, end_id=END, beams=2, max_new=6) == written


def text_loss(model: RSMoE, batch: Batch) -> float:
    with torch.no_grad():
        return float(model.fusion.losses(model, batch, model.read(batch), smoothing=0.1)["text"])


def test_experts_are_a_set(model: RSMoE) -> None:
    order = [3, 5, 0, 4, 1, 2]
    names = [model.names[i] for i in order]
    moved = tiny_model(experts=f"expert=[{','.join(names)}]")
    state = dict(model.state_dict())
    for name, value in state.items():
        if "lora_" in name or name == "prompts.base" or name.startswith("router.gate"):
            state[name] = value[order]
    heads = {f"experts.{old}.": f"experts.{new}." for new, old in enumerate(order)}
    state = {
        next((new + k[len(old) :] for old, new in heads.items() if k.startswith(old)), k): v for k, v in state.items()
    }
    load_weights(moved, {"state_dict": state})
    assert moved.names == tuple(names)
    batch = batch_of()
    torch.testing.assert_close(mixture(moved, batch), mixture(model, batch), atol=1e-5, rtol=1e-5)
    assert moved.generate(batch, end_id=END, max_new=6) == model.generate(batch, end_id=END, max_new=6)
    with torch.no_grad():
        ours, theirs = (
            {m.names[i]: m.experts[i].head(x) for i, x in m.head_inputs(batch, m.read(batch)).items()}
            for m in (model, moved)
        )
    assert sorted(ours) == sorted(theirs) == ["mask", "retrieval"]
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-4)


def test_the_router_never_sees_the_label(model: RSMoE) -> None:
    batch = batch_of()
    perception = model.perceive(batch)
    written = model.generate(batch, perception, end_id=END, beams=2, max_new=6)
    blind = {"has_mask": torch.zeros_like(batch.has_mask), "masks": torch.ones_like(batch.masks)}
    for task in (batch.task.flip(0), torch.zeros_like(batch.task)):
        renamed = tuple(
            replace(s, task=task_names()[t], id="x", kind="") for s, t in zip(batch.samples, task.tolist(), strict=True)
        )
        asked = replace(batch, task=task, samples=renamed, **blind)
        other = model.perceive(asked)
        assert model.generate(asked, other, end_id=END, beams=2, max_new=6) == written
        assert torch.equal(other.routing.weights, perception.routing.weights)


def test_mixed_probabilities_sum_to_one() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = Rows(
        sample=torch.tensor([0, 2, 0, 1, 2, 2]),
        expert=torch.tensor([0, 0, 1, 1, 1, 2]),
        weight=torch.tensor([0.3, 0.2, 0.7, 1.0, 0.5, 0.3]),
    )
    logits = 5 * torch.randn(6 * 2, 11, generator=generator)
    mixed = mixed_log_probability(logits, rows, 3, 2)
    assert mixed.shape == (3, 2, 11)
    torch.testing.assert_close(mixed.exp().sum(-1), torch.ones(3, 2))
    # row r of beam k is r * 2 + k; sample 1 has one expert and keeps its distribution
    torch.testing.assert_close(mixed[1], logits.log_softmax(-1).view(6, 2, 11)[3])
    p = logits.softmax(-1).view(6, 2, 11)
    torch.testing.assert_close(mixed[0].exp(), 0.3 * p[0] + 0.7 * p[2])


def test_mix_equals_the_log_of_the_sum_and_stays_finite() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = Rows(sample=torch.tensor([0, 1, 0]), expert=torch.tensor([0, 0, 1]), weight=torch.tensor([0.25, 1.0, 0.75]))
    given = (-10 * torch.rand(3, 5, generator=generator)).requires_grad_()
    mixed = mix(given, rows, 2)
    torch.testing.assert_close(mixed[0], (0.25 * given[0].exp() + 0.75 * given[2].exp()).log())
    torch.testing.assert_close(mixed[1], given[1])
    mixed.sum().backward()
    torch.testing.assert_close(given.grad[0] + given.grad[2], torch.ones(5))
    far = mix(torch.tensor([[-500.0], [-600.0], [-2000.0]]), rows, 2)
    torch.testing.assert_close(far[:, 0], torch.tensor([-500.0 + torch.tensor(0.25).log(), -600.0]))


def test_a_row_of_weight_zero_has_no_influence(model: RSMoE) -> None:
    batch = batch_of("caption", "vqa")
    with torch.no_grad():
        reading = model.read(batch)
    rows = reading.rows
    weight = torch.where(rows.expert == 0, torch.zeros_like(rows.weight), rows.weight)
    silent = Rows(sample=rows.sample, expert=rows.expert, weight=weight)
    spoiled = torch.where((rows.expert == 0)[:, None], -3.0 + 0 * reading.log_probability, reading.log_probability)
    torch.testing.assert_close(
        mix(spoiled, silent, len(batch)), mix(reading.log_probability, silent, len(batch)), atol=1e-6, rtol=1e-6
    )


def test_the_router_learns_from_the_text_loss(model: RSMoE) -> None:
    reading: Reading = model.read(batch_of("caption", "vqa"))
    loss = model.fusion.losses(model, batch_of("caption", "vqa"), reading)["text"]
    (gradient,) = torch.autograd.grad(loss, model.router.gate.weight)
    assert gradient.abs().max() > 0


def test_label_smoothing_is_hand_computed(model: RSMoE) -> None:
    batch = batch_of("vqa")
    with torch.no_grad():
        reading = model.read(batch)
        plain, smooth = (model.fusion.losses(model, batch, reading, smoothing=s)["text"] for s in (0.0, 0.2))
    rows, mask = reading.rows, batch.response_mask
    uniform = torch.zeros(mask.shape).index_add(0, rows.sample, reading.smooth * rows.weight[:, None])
    expected = 0.8 * plain - 0.2 * (uniform * mask).sum() / mask.sum()
    torch.testing.assert_close(smooth, expected)


def test_heads_read_the_state_that_emits_their_token(model: RSMoE) -> None:
    batch = batch_of()
    with torch.no_grad():
        reading = model.read(batch)
        inputs = model.head_inputs(batch, reading)
    mask = inputs[model.names.index("mask")]
    assert mask.sample.tolist() == [3, 8]
    token = codecs()[0].token_id("[SEG]")
    rows = reading.rows
    for n, sample in enumerate(mask.sample.tolist()):
        place = batch.response_ids[sample].tolist().index(token)
        own = rows.sample == sample
        expected = (reading.hidden[own, place] * rows.weight[own, None]).sum(0)
        torch.testing.assert_close(mask.hidden[n], expected)
    # what comes after the token must not reach the state that emits it
    later = batch.response_ids.clone()
    for sample in mask.sample.tolist():
        later[sample, batch.response_ids[sample].tolist().index(token) + 1] = 9
    with torch.no_grad():
        again = model.head_inputs(batch, model.read(replace(batch, response_ids=later)))
    torch.testing.assert_close(again[model.names.index("mask")].hidden, mask.hidden)


def test_each_seg_of_a_response_has_its_own_state(model: RSMoE) -> None:
    batch = batch_of()
    token, ids = codecs()[0].token_id("[SEG]"), batch.response_ids.clone()
    first = ids[3].tolist().index(token)
    ids[3, first + 1] = token  # in the place of the end token
    with torch.no_grad():
        reading = model.read(replace(batch, response_ids=ids))
        mask = model.head_inputs(replace(batch, response_ids=ids), reading)[model.names.index("mask")]
    assert mask.sample.tolist() == [3, 3, 8] and mask.view.tolist() == batch.view[[3, 3, 8]].tolist()
    own = reading.rows.sample == 3
    for n, place in enumerate((first, first + 1)):
        expected = (reading.hidden[own, place] * reading.rows.weight[own, None]).sum(0)
        torch.testing.assert_close(mask.hidden[n], expected)


def test_a_checkpoint_of_another_model_is_refused_with_names() -> None:
    model, other = tiny_model(), tiny_model("temporal=concat", "bank.rank=2")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(model, {"state_dict": other.state_dict()})
    for word in ("missing", "temporal.dates.0.context1.weight", "unknown", "temporal.marks", "shapes differ", "lora_A"):
        assert word in str(error.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_no_expert_is_an_error() -> None:
    from support.models import tiny_config

    config = tiny_config()
    with pytest.raises(UserError, match="no expert is selected"):
        build_model(config | {"expert": {}}, *codecs())


def test_a_request_is_encoded_once_whatever_is_answered(model: RSMoE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, masks, embeddings and prompts of a batch come from one pass of the encoder."""
    seen: list[int] = []
    real = model.vision.forward  # type: ignore[attr-defined]
    monkeypatch.setattr(model.vision, "forward", lambda pixels: seen.append(len(pixels)) or real(pixels))
    batch, codec = batch_of(inference=True), codecs()[0]
    heads = [codec.token_id("[SEG]"), codec.token_id("[SEG]"), codec.token_id("[RET]")]
    monkeypatch.setattr(model, "generate", lambda *_, **__: [[7, *heads]] * len(batch))
    with torch.no_grad():
        perception = model.perceive(batch)
    answers = answer_batch(model, codec, batch, beams=1, max_new=4, perception=perception)
    assert prompt_words(model, codec, batch, perception)
    assert seen == [int(batch.frames.sum())]
    for answer in answers:
        assert answer.mask is not None and answer.image_embedding is not None
        assert len(answer.masks) == 2 and (answer.mask == (answer.masks[0] | answer.masks[1])).all()


def test_heads_read_the_same_states_from_a_perception_that_is_handed_on(model: RSMoE) -> None:
    batch = batch_of()
    with torch.no_grad():
        whole = model.read(batch)
        rows = whole.rows
        some = rows.sample % 2 == 1
        half = Rows(sample=rows.sample[some], expert=rows.expert[some], weight=rows.weight[some])
        again = model.read(batch, whole.perception, rows=half)
    valid = batch.response_mask[half.sample]
    torch.testing.assert_close(again.hidden[valid], whole.hidden[some][valid], atol=1e-5, rtol=1e-5)
