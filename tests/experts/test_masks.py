"""The expert for several masks: a [SEG] a target, matched one to one; masks follow state, picture and memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.errors import UserError
from rsmoe.experts.class_memory import ClassMemory
from rsmoe.experts.expert import AnswerInput, HeadInput
from rsmoe.experts.masks import MasksExpert
from rsmoe.experts.seg import pixel_bce, soft_dice
from rsmoe.experts.seg_matching import matched, pair_costs

KINDS = ("ship", "tank", "house")


def expert_of(**options: Any) -> MasksExpert:
    torch.manual_seed(0)
    given = {"hidden_width": 24, "pyramid_widths": (16, 32), "width": 16, **options}
    return MasksExpert(name="masks", tasks=["mask"], **given)


def seg(*sample: int, views: int = 4) -> HeadInput:
    """One random state for each [SEG], of these samples; the view of a sample is its own."""
    torch.manual_seed(1)
    place = torch.tensor(sample)
    return HeadInput(
        hidden=torch.randn(len(sample), 24),
        sample=place,
        view=place,
        pyramid=(torch.randn(views, 16, 12, 12), torch.randn(views, 32, 6, 6)),
        compared=torch.zeros(len(sample), dtype=torch.bool),
    )


def batch_of(numbers: Tensor, *, has: list[bool] | None = None, kinds: tuple[str, ...] = ()) -> SimpleNamespace:
    samples = [SimpleNamespace(kind=kind) for kind in kinds or ("",) * len(numbers)]
    return SimpleNamespace(masks=numbers, has_mask=torch.tensor(has or [True] * len(numbers)), samples=samples)


def numbered(b: int = 4, targets: int = 3, side: int = 24) -> Tensor:
    """(b, side, side): squares 1 to ``targets``, side by side."""
    numbers = torch.zeros(b, side, side, dtype=torch.uint8)
    for k in range(targets):
        numbers[:, 2:8, 1 + 7 * k : 6 + 7 * k] = k + 1
    return numbers


def test_matching_is_the_best_of_all_one_to_one_pairs() -> None:
    torch.manual_seed(3)
    weights = MasksExpert.terms
    numbers, logits = numbered(1), torch.randn(3, 12, 12) * 3
    target = matched(logits, numbers, [3], terms=weights)
    true = [(numbers[0] == k).float() for k in (1, 2, 3)]
    costs = pair_costs(logits, torch.stack([F.avg_pool2d(t[None], 2)[0] for t in true]), terms=weights)
    for k in range(3):  # the cost of a pair is what it would lose
        small = F.avg_pool2d(true[k][None], 2)
        alone = 5 * pixel_bce(logits[:1], small) + 5 * soft_dice(logits[:1], small)
        torch.testing.assert_close(costs[0, k], alone[0])
    best = min(permutations(range(3)), key=lambda order: float(sum(costs[i, k] for i, k in enumerate(order))))
    for mine, k in zip(target, best, strict=True):
        assert torch.equal(mine, true[k])


def test_one_seg_stands_for_all_targets_and_one_too_many_for_none() -> None:
    numbers = numbered(3, targets=2)
    numbers[2] = 0
    target = matched(torch.randn(5, 12, 12), numbers, [1, 3, 1], terms=MasksExpert.terms)
    assert torch.equal(target[0], (numbers[0] > 0).float())
    areas = sorted(int(mask.sum()) for mask in target[1:4])
    assert areas == [0, 30, 30] and torch.equal(target[1:4].sum(0), (numbers[1] > 0).float())
    assert not target[4].any()


def test_losses_are_those_of_the_replies_that_have_a_mask() -> None:
    """A reply counts once, however many [SEG] it holds; bce and dice are means over the layers."""
    expert, inputs, numbers = expert_of(), seg(0, 1, 1, 3), numbered()
    batch = batch_of(numbers, has=[True, True, True, False])
    found = expert.decode(inputs)
    target = matched(found.layers[-1].detach(), numbers[[0, 1, 3]], [1, 2, 1], terms=expert.terms)
    losses = expert.losses(inputs, batch)
    for name, loss in (("mask_bce", pixel_bce), ("mask_dice", soft_dice)):
        small = F.adaptive_avg_pool2d(target, (12, 12))
        full = F.interpolate(found.layers[-1][:, None], size=(24, 24), mode="bilinear", align_corners=False)[:, 0]
        layers = [*(loss(logits, small) for logits in found.layers[:-1]), loss(full, target)]
        expected = torch.stack([(x[0] + x[1:3].mean()) / 2 for x in layers]).mean()
        torch.testing.assert_close(losses[name], expected)
    told = [F.adaptive_avg_pool2d((numbers[:1] > 0).float(), (12, 12)).flatten()]
    told.append(sum(F.adaptive_avg_pool2d(t[None], (12, 12)).flatten() / t.sum() * 4 for t in target[1:3]))  # type: ignore[arg-type]
    entropy = [-(t / t.sum() * found.point[i, :-1]).sum() for i, t in enumerate(told)]
    torch.testing.assert_close(losses["mask_point"], torch.stack(entropy).mean())


def test_what_is_not_there_is_pointed_at_nowhere() -> None:
    expert, inputs = expert_of(), seg(2)
    batch = batch_of(torch.zeros(4, 24, 24, dtype=torch.uint8))
    torch.testing.assert_close(expert.losses(inputs, batch)["mask_point"], -expert.decode(inputs).point[0, -1])


@pytest.mark.parametrize("options", [{}, {"memory": "class", "classes": KINDS}, {"memory": "slots"}])
def test_without_any_mask_every_gradient_is_there_and_zero(options: dict[str, Any]) -> None:
    expert = expert_of(**options)
    batch = batch_of(numbered(targets=0), has=[False] * 4, kinds=("ship",) * 4)
    sum(expert.losses(seg(0, 1, 1), batch).values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and not p.grad.any() for p in expert.parameters())


def test_a_reply_has_its_masks_from_its_own_states_and_picture() -> None:
    """Whatever else is in the batch; and another picture gives other masks."""
    expert, inputs = expert_of(memory="slots"), seg(0, 1, 1, 3)
    whole = expert.head(inputs)
    torch.testing.assert_close(expert.head(inputs[torch.tensor([1, 2])]), whole[1:3], atol=1e-4, rtol=1e-4)
    other = replace(inputs, view=torch.tensor([0, 2, 2, 3]))
    assert not torch.allclose(expert.head(other)[1:3], whole[1:3], atol=1e-2)


def test_two_seg_of_a_reply_begin_at_two_places_even_with_one_state() -> None:
    """Each has a window around a pixel of its own; in a picture of one colour the window alone differs."""
    expert, inputs = expert_of(), seg(1, 1)
    flat = tuple(torch.ones_like(level) for level in inputs.pyramid)
    alike = replace(inputs, hidden=inputs.hidden[:1].expand(2, -1), pyramid=flat)
    first, second = expert.decode(alike).layers[0].sigmoid()
    assert not torch.allclose(first, second, atol=1e-3)
    assert first.argmax() != second.argmax()


def test_another_class_gives_another_mask() -> None:
    """The class that the memory is read for decides, the words and the picture being the same."""
    expert, inputs = expert_of(memory="class", classes=KINDS), seg(0, 1)
    memory = expert.decoder.memory
    assert memory is not None and memory.classify is not None
    masks = []
    for k in range(len(KINDS)):
        with torch.no_grad():
            memory.classify.weight.zero_()
            memory.classify.bias.copy_(100.0 * F.one_hot(torch.tensor(k), len(KINDS)))
            masks.append(expert.head(inputs))
    assert all((masks[i] - masks[j]).abs().amax((1, 2)).min() > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_the_memory_reads_what_a_refined_feature_map_would_give() -> None:
    """``read`` never makes the refined features of each reply, and gives the logits that they would."""
    torch.manual_seed(0)
    memory = ClassMemory(width=16, classes=1, slots=4)
    features, embed = torch.randn(2, 16, 5, 6), torch.randn(3, 16)
    view, reply = torch.tensor([1, 0, 0]), torch.tensor([0, 1, 1])
    slots = memory.write(memory(torch.randn(2, 16)), torch.randn(3, 5, 6), features, view, reply)
    assert slots.shape == (2, 5, 16) and torch.equal(slots[0, :4], slots[1, :4]) and not torch.equal(slots[0], slots[1])
    for n in range(3):
        x, s = features[view[n]].flatten(1).T, memory.norm(slots[reply[n]])
        refined = x + memory.out((memory.query(x) @ memory.key(s).T / 4).softmax(-1) @ memory.value(s))
        added = ((refined - x) @ embed[n] / 4).view(5, 6)
        torch.testing.assert_close(memory.read(embed, slots, features, view, reply)[n], added, atol=1e-5, rtol=1e-4)


def test_the_class_is_learned_from_the_kind_of_a_sample_where_it_is_known() -> None:
    expert, inputs = expert_of(memory="class", classes=KINDS), seg(0, 1, 1, 2)
    batch = batch_of(numbered(), kinds=("tank", "comet", "ship", ""))
    classes = expert.decode(inputs).classes
    assert classes is not None and classes.shape == (3, 3)
    expected = F.cross_entropy(classes[[0, 2]], torch.tensor([1, 0]), reduction="sum") / 3
    torch.testing.assert_close(expert.losses(inputs, batch)["mask_class"], expected)
    assert "mask_class" not in expert_of(memory="slots").losses(inputs, batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "class"}, "memory=class with 0 classes"),
        ({"memory": "slots", "classes": KINDS}, "memory=slots with 3 classes"),
        ({"width": 20}, "a multiple of 8 and of the heads"),
    ],
)
def test_a_memory_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        expert_of(**options)


def test_answers_are_of_the_size_of_each_picture_one_mask_a_seg() -> None:
    expert, inputs = expert_of(), seg(0, 2, 2)
    sizes = [(30, 20), (1, 1), (9, 40), (1, 1)]
    logits = expert.head(inputs)
    answers = expert.answer(AnswerInput(inputs=inputs, size_px=sizes, maps=[{}] * 4))
    assert sorted(answers) == [0, 2] and "masks" not in answers[0]
    assert answers[0]["mask"].shape == (30, 20) and [m.shape for m in answers[2]["masks"]] == [(9, 40)] * 2
    expected = F.interpolate(logits[:, None], size=(9, 40), mode="bilinear", align_corners=False)[1:, 0] > 0
    assert np.array_equal(np.stack(answers[2]["masks"]), expected.numpy())
    assert np.array_equal(answers[2]["mask"], expected.any(0).numpy())
    assert np.array_equal(answers[2]["mask_logits"], logits[1:].amax(0).detach().numpy())


@pytest.mark.slow
def test_masks_follow_the_words() -> None:
    """Two squares of two colours: the state says which one, "left" or "right" too, both, or one that is not there."""
    torch.manual_seed(0)
    expert, n, size = expert_of(layers=2), 24, 16
    optimizer = torch.optim.AdamW(expert.parameters(), lr=5e-3)
    words = torch.randn(6, 24)  # red, blue, left, right, every square, green

    def scenes() -> tuple[HeadInput, Tensor]:
        top, left, right = torch.randint(0, size - 4, (n,)), torch.randint(0, 4, (n,)), torch.randint(8, 12, (n,))
        red_left = torch.rand(n) < 0.5
        image, place = torch.randn(n, 16, size, size) * 0.1, torch.zeros(n, 2, size, size, dtype=torch.uint8)
        for i in range(n):
            for side, x in enumerate((left[i], right[i])):
                image[i, 0 if red_left[i] == (side == 0) else 1, top[i] : top[i] + 4, x : x + 4] += 1
                place[i, side, top[i] : top[i] + 4, x : x + 4] = 1
        ask = torch.randint(0, 6, (n,))
        side = torch.where(ask >= 2, ask - 2, (ask == 0).ne(red_left).long()).clamp(max=1)
        target = place[torch.arange(n), side]
        target = torch.where((ask == 4)[:, None, None], place[:, 0] + 2 * place[:, 1], target)
        target = torch.where((ask == 5)[:, None, None], 0, target)
        sample = torch.arange(n).repeat_interleave(1 + (ask == 4))
        inputs = HeadInput(
            hidden=words[ask[sample]],
            sample=sample,
            view=sample,
            pyramid=(image, F.avg_pool2d(image, 2).repeat(1, 2, 1, 1)),
            compared=torch.zeros(len(sample), dtype=torch.bool),
        )
        return inputs, target

    for _ in range(150):
        inputs, target = scenes()
        losses = expert.losses(inputs, batch_of(target))  # type: ignore[arg-type]
        optimizer.zero_grad()
        sum(expert.terms[name] * value for name, value in losses.items()).backward()  # type: ignore[union-attr]
        optimizer.step()
    inputs, target = scenes()  # scenes it has never seen
    _, count = inputs.sample.unique_consecutive(return_counts=True)

    def iou(inputs: HeadInput) -> float:
        with torch.no_grad():
            logits = expert.head(inputs)
        true = matched(logits, target, count.tolist(), terms=expert.terms) > 0
        both, either = ((logits > 0) & true).sum((1, 2)), ((logits > 0) | true).sum((1, 2))
        return float(torch.where(either > 0, both / either.clamp(min=1), 1.0).mean())

    assert iou(inputs) > 0.8
    assert iou(replace(inputs, hidden=inputs.hidden.roll(1, 0))) < 0.7  # another question, another mask
