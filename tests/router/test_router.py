"""Who answers, with which weight and which prompt; and the losses that teach it, against numbers computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from support.models import batch_of, codecs, padded, tiny_model
from torch import Tensor

from rsmoe.errors import UserError
from rsmoe.experts.language_model import causal_lm
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate
from rsmoe.router.balance.none import NoBalance
from rsmoe.router.choice.threshold import Threshold
from rsmoe.router.instruction import InstructionRouter
from rsmoe.router.losses import label_loss, z_loss
from rsmoe.router.prompts import PromptRequest
from rsmoe.router.request import RouterRequest
from rsmoe.router.routing import Routing
from rsmoe.router.soft import SoftPrompts
from rsmoe.router.template import TemplatePrompts
from rsmoe.router.text import TextPrompts

NONE = NoBalance(experts=4)
P = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.05, 0.05, 0.85]])


def router(**options: object) -> InstructionRouter:
    torch.manual_seed(0)
    sizes = {"width": 6, "memory_width": 5, "vocab_size": 20, "experts": 4, "hidden": 8}
    return InstructionRouter(choice=Threshold, balance=NONE, **sizes, **options)  # type: ignore[arg-type]


def asked(queries: Tensor, ids: Tensor, mask: Tensor) -> RouterRequest:
    return RouterRequest(
        queries=queries, memory=torch.zeros(len(ids), 5), instruction_ids=ids, instruction_mask=mask,
        allowed=torch.ones(4, dtype=torch.bool),
    )  # fmt: skip


def routed(*, weights: Tensor | None = None, logits: Tensor) -> Routing:
    weights = logits.softmax(-1) if weights is None else weights
    return Routing(logits=logits, weights=weights, chosen=weights > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reads": "words"}, "router.reads='words': expected 'both', 'instruction' or 'image'"),
        ({"hidden": 0}, "router.hidden=0: expected 1 or more"),
        ({"jitter": -0.5}, "router.jitter=-0.5: expected 0.0 or more"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    node = {"_target_": "rsmoe.router.instruction.InstructionRouter", **options}
    with pytest.raises(UserError, match=message):
        instantiate(node, width=6, memory_width=5, vocab_size=20, experts=4, choice=Threshold, balance=NONE)


def test_rows_are_sorted_by_expert_and_carry_their_weight() -> None:
    rows = Routing.of(P.log(), P >= 0.1).rows()
    assert rows.expert.tolist() == [0, 1, 2, 3]
    assert rows.sample.tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(rows.weight, torch.tensor([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 1.0]))


def test_the_gate_is_in_fp32_under_autocast() -> None:
    gate = router()
    queries, ids, mask = torch.randn(3, 2, 6), torch.randint(20, (3, 5)), torch.ones(3, 5, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.nn.functional.linear(queries, torch.zeros(2, 6)).dtype == torch.bfloat16
        given = gate(asked(queries, ids, mask))
    assert given.logits.dtype == given.weights.dtype == torch.float32
    # a product in bf16 would land on its grid of 8 bits
    assert not torch.equal(given.logits, given.logits.bfloat16().float())


def test_padding_of_the_instruction_is_not_read() -> None:
    gate = router().eval()
    queries, ids = torch.randn(2, 3, 6), torch.randint(20, (2, 5))
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    other = torch.where(mask, ids, 19 - ids)
    torch.testing.assert_close(gate(asked(queries, ids, mask)).logits, gate(asked(queries, other, mask)).logits)
    assert bool(torch.isfinite(gate(asked(queries, ids, torch.zeros_like(mask))).logits).all())  # no word at all


def test_noise_is_for_training_only() -> None:
    gate = router(jitter=1.0)
    inputs = torch.randn(2, 3, 6), torch.randint(20, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    assert not torch.equal(gate(asked(*inputs)).logits, gate(asked(*inputs)).logits)
    gate.eval()
    assert torch.equal(gate(asked(*inputs)).logits, gate(asked(*inputs)).logits)


def test_label_loss_is_the_log_of_the_summed_probability() -> None:
    right = torch.tensor([[True, True, False, False], [False, False, True, False]])
    expected = -(math.log(0.8) + math.log(0.05)) / 2
    task = torch.tensor([3, 0])
    torch.testing.assert_close(label_loss(routed(logits=P.log()), right, task), torch.tensor(expected))
    torch.testing.assert_close(label_loss(routed(logits=P.log()), torch.ones_like(right), task), torch.tensor(0.0))


def test_label_loss_weighs_tasks_and_not_their_samples() -> None:
    logits = torch.cat([P.log()[:1].expand(7, -1), P.log()[1:]])
    right = torch.tensor([[True, True, False, False]] * 7 + [[False, False, True, False]])
    many = torch.tensor([1] * 7 + [4])  # seven samples of a task do not outvote the one of another
    expected = -(math.log(0.8) + math.log(0.05)) / 2
    torch.testing.assert_close(label_loss(routed(logits=logits), right, many), torch.tensor(expected))
    one = torch.zeros_like(many)
    expected = -(7 * math.log(0.8) + math.log(0.05)) / 8
    torch.testing.assert_close(label_loss(routed(logits=logits), right, one), torch.tensor(expected))


def test_label_loss_leaves_out_tasks_that_no_expert_serves() -> None:
    logits = P.log().requires_grad_()
    right = torch.tensor([[True, True, False, False], [False, False, False, False]])
    loss = label_loss(routed(logits=logits), right, torch.tensor([2, 2]))
    torch.testing.assert_close(loss, torch.tensor(-math.log(0.8)))
    loss.backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
    none = label_loss(routed(logits=logits), torch.zeros_like(right), torch.tensor([2, 2]))
    assert float(none.detach()) == 0.0 and none.requires_grad


def test_z_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    expected = (math.log(2) ** 2 + math.log(4) ** 2) / 2
    torch.testing.assert_close(z_loss(routed(logits=logits)), torch.tensor(expected))


def test_an_expert_without_tasks_is_never_routed_to() -> None:
    model = tiny_model("choice=top_k", "choice.k=3", experts="expert=[theme,vqa,rewriter]")
    with torch.no_grad():
        model.router.gate.bias[2] = 100.0
        batch = batch_of("caption", "vqa")
        for also in (None, model.serves_task[batch.task]):
            routing = model.perceive(batch, also=also).routing
            assert not bool(routing.chosen[:, 2].any())
            torch.testing.assert_close(routing.weights.sum(1), torch.ones(len(batch)))


def test_the_dense_stage_uses_expert_zero_alone() -> None:
    model = tiny_model()
    model.dense = True
    routing = model.perceive(batch_of()).routing
    assert routing.weights.tolist() == [[1.0, 0, 0, 0, 0, 0]] * 10
    assert routing.chosen.sum() == 10


def model_with(prompts: str) -> RSMoE:
    return tiny_model(f"prompts={prompts}", experts="expert=[theme,object,vqa,change]")


@pytest.mark.parametrize("prompts", ["soft", "text", "template"])
def test_every_prompt_writer_trains_and_answers(prompts: str) -> None:
    model = model_with(prompts)
    batch = batch_of("caption", "vqa", "change_caption")
    model.prompts.train()
    reading = model.read(batch)
    loss = model.fusion.losses(model, batch, reading)["text"]
    (loss + (0.0 if reading.prompt_loss is None else reading.prompt_loss)).backward()
    learned = [n for n, p in model.prompts.named_parameters() if p.grad is not None and bool(p.grad.any())]
    assert {"soft": "base", "text": "expert.weight"}.get(prompts, "") in [*learned, ""]
    model.eval()
    end = codecs()[0].eos_id
    assert end is not None
    written = model.generate(batch, end_id=end, beams=2, max_new=4)
    assert len(written) == len(batch)
    wide = padded(batch, prompt=3, instruction=2)
    assert model.generate(wide, end_id=end, beams=2, max_new=4) == written
    assert model.read(batch).prompt_loss is None  # it is a loss of training


def test_prompts_belong_to_their_experts() -> None:
    """An expert's prompt moves the answer of that expert and of no other."""
    model = model_with("soft")
    batch = batch_of("caption", "vqa", "change_caption")
    with torch.no_grad():
        before = model.read(batch)
        model.prompts.base[1] += 1.0
        after = model.read(batch)
    moved = (before.log_probability - after.log_probability).abs().amax(1) > 1e-4
    assert torch.equal(moved, before.rows.expert == 1) and bool(moved.any())


def test_soft_prompts_depend_on_what_is_seen_and_asked() -> None:
    torch.manual_seed(0)
    writer = SoftPrompts(width=8, templates=[[], []], vocab_size=9, tokens=3)
    torch.nn.init.normal_(writer.condition.weight)
    request = PromptRequest(
        queries=torch.randn(2, 4, 8), queries_mask=torch.ones(2, 4).bool(),
        prompt_ids=torch.zeros(2, 1, dtype=torch.long),
        prompt_mask=torch.ones(2, 1, dtype=torch.bool), expert=torch.tensor([0, 0]),
    )  # fmt: skip
    given = writer(request)
    assert given.embeds.shape == (2, 3, 8) and given.mask.shape == (2, 3)
    assert not torch.allclose(given.embeds[0], given.embeds[1])
    writer.upcycle(1)
    assert torch.equal(writer.base[0], writer.base[1])


def test_templates_are_left_padded_word_for_word() -> None:
    writer = TemplatePrompts(width=8, vocab_size=9, templates=[[5, 6, 7], [], [8]])
    request = PromptRequest(
        queries=torch.zeros(3, 1, 8), queries_mask=torch.ones(3, 1).bool(),
        prompt_ids=torch.zeros(3, 0, dtype=torch.long),
        prompt_mask=torch.zeros(3, 0, dtype=torch.bool), expert=torch.tensor([0, 1, 2]),
    )  # fmt: skip
    given = writer(request)
    assert given.ids.tolist() == [[5, 6, 7], [0, 0, 0], [0, 0, 8]]
    assert given.mask.tolist() == [[True] * 3, [False] * 3, [False, False, True]]


def test_the_text_writer_learns_its_templates() -> None:
    torch.manual_seed(0)
    sizes = {
        "model_type": "llama",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    templates = [[4, 5, 6], [7, 8], []]
    writer = TextPrompts(
        width=8, vocab_size=10, templates=templates, lm=causal_lm(vocab_size=10, config=sizes), tokens=5
    )
    request = PromptRequest(
        queries=torch.randn(6, 2, 8), queries_mask=torch.ones(6, 2).bool(),
        prompt_ids=torch.tensor([[0, 3], [2, 3]]).repeat(3, 1),
        prompt_mask=torch.tensor([[False, True], [True, True]]).repeat(3, 1), expert=torch.tensor([0, 0, 1, 1, 2, 2]),
    )  # fmt: skip
    optimizer = torch.optim.Adam(writer.parameters(), lr=2e-2)
    losses = []
    for _ in range(60):
        loss = writer(request).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    given = writer.eval()(request)
    assert given.loss is None
    words = [ids[mask].tolist() for ids, mask in zip(given.ids, given.mask, strict=True)]
    assert words == [templates[e] for e in request.expert.tolist()]
    assert bool((given.mask[:, 1:] >= given.mask[:, :-1]).all())  # left-padded
    # an instruction's padding is not read
    noisy = replace(request, prompt_ids=torch.where(request.prompt_mask, request.prompt_ids, 9))
    assert torch.equal(writer(noisy).ids, given.ids)
