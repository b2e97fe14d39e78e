"""The expert for every thing of a kind: masks come apart, losses are those of the targets, boxes are hulls."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsmoe.errors import UserError
from rsmoe.experts.expert import AnswerInput, HeadInput
from rsmoe.experts.instances import hull, things_of
from rsmoe.experts.objects import ObjectsExpert
from rsmoe.experts.seg import pixel_bce, soft_dice


def expert_of(**options: int) -> ObjectsExpert:
    torch.manual_seed(0)
    given: dict[str, int] = {"width": 16, **options}
    return ObjectsExpert(name="objects", tasks=["mask"], hidden_width=24, pyramid_widths=(16, 32), **given)


def seg(*sample: int, views: int = 4) -> HeadInput:
    torch.manual_seed(1)
    place = torch.tensor(sample)
    return HeadInput(
        hidden=torch.randn(len(sample), 24), sample=place, view=place,
        pyramid=(torch.randn(views, 16, 12, 12), torch.randn(views, 32, 6, 6)),
        compared=torch.zeros(len(sample), dtype=torch.bool),
    )  # fmt: skip


def test_things_are_components_those_of_the_highest_sum_first() -> None:
    kind = np.full((60, 90), 0.5)
    kind[2:22, 3:13], kind[30:40, 3:13], kind[30:40, 13:43] = 0.9, 0.6, 0.8  # the last two touch
    kind[50:55, 50:58], kind[50:54, 70:79] = 0.9, 0.9  # 40 pixels, and 36
    kind[49, 58] = 0.9  # touches with a corner only
    found = things_of(kind)
    assert [hull(thing) for thing in found] == [(3, 30, 43, 40), (3, 2, 13, 22), (50, 50, 58, 55)]
    assert [int(thing.sum()) for thing in found] == [400, 200, 40]
    assert things_of(np.full((60, 90), 0.5)) == []


def test_losses_are_those_of_the_replies_that_have_a_mask() -> None:
    expert, inputs = expert_of(), seg(0, 1, 1, 2, 3)
    numbers = torch.zeros(4, 24, 24, dtype=torch.uint8)
    numbers[0, 2:10, 2:10], numbers[1, 4:8, 12:20], numbers[3] = 1, 3, 1
    batch = SimpleNamespace(masks=numbers, has_mask=torch.tensor([True, True, True, False]))
    losses = expert.losses(inputs, batch)  # type: ignore[arg-type]
    logits = expert.decode(inputs)[1][:3]
    covered = F.avg_pool2d((numbers[:3] > 0).float(), 2)
    torch.testing.assert_close(losses["object_bce"], pixel_bce(logits, covered).mean())
    torch.testing.assert_close(losses["object_dice"], soft_dice(logits, covered)[:2].mean())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in expert.parameters())
    none = SimpleNamespace(masks=numbers, has_mask=torch.zeros(4, dtype=torch.bool))
    assert all(value.item() == 0 for value in expert.losses(inputs, none).values())  # type: ignore[arg-type]


def test_a_reply_is_of_its_own_states_and_picture_and_answers_in_pixels_of_the_picture() -> None:
    expert, inputs = expert_of(), seg(0, 1, 1, 3)
    whole = expert.head(inputs)
    assert whole.shape == (4, 12, 12) and torch.equal(whole[1], whole[2])
    torch.testing.assert_close(expert.head(inputs[torch.tensor([1, 2])]), whole[1:3])
    with torch.no_grad():
        expert.bias.fill_(30.0)  # everything is of the kind
    size, compared = [(60, 120)] * 4, {"change": np.eye(60, 120, dtype=np.uint8)}
    with torch.no_grad():
        answers = expert.answer(AnswerInput(inputs=inputs, size_px=size, maps=[{}, {}, {}, compared]))
    assert sorted(answers) == [0, 1, 3] and answers[3]["mask"].sum() == 60 and "boxes_px" not in answers[3]
    answer = answers[0]
    np.testing.assert_array_equal(answers[1]["mask_logits"], expert.head(inputs)[1].detach().numpy())
    assert "mask_logits" not in answers[3]
    assert answer["mask"].all() and len(answer["masks"]) == len(answer["boxes_px"]) > 0
    assert (np.sum(answer["masks"], 0) == 1).all()
    for box, mask in zip(answer["boxes_px"], answer["masks"], strict=True):
        assert tuple(box) == hull(mask)
    with pytest.raises(UserError, match=r"expert\.objects\.width=12"):
        expert_of(width=12)
