"""The expert for every thing of a kind: votes of pixels become things, losses are those of the targets, boxes fit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsmoe.errors import UserError
from rsmoe.experts.expert import AnswerInput, HeadInput
from rsmoe.experts.instances import things_of
from rsmoe.experts.objects import ObjectsExpert, giou, target_sides
from rsmoe.experts.seg import pixel_bce, soft_dice
from rsmoe.metrics.regions.grounding import hbb_iou


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


def voted(boxes: list[tuple[int, int, int, int]], shape: tuple[int, int] = (20, 30)) -> tuple[np.ndarray, np.ndarray]:
    """Maps whose pixels within each box are sure of the kind, and of the box."""
    kind, sides = np.full(shape, 0.01), np.ones((4, *shape))
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    for x1, y1, x2, y2 in boxes:
        kind[y1:y2, x1:x2] = 0.9
        sides[:, y1:y2, x1:x2] = np.stack([x - x1, y - y1, x2 - x, y2 - y])[:, y1:y2, x1:x2]
    return kind, sides


def test_touching_things_come_apart_by_the_boxes_that_their_pixels_tell() -> None:
    boxes = [(2, 3, 10, 11), (10, 3, 18, 11), (18, 3, 21, 6), (24, 12, 29, 18)]  # the first three touch
    kind, sides = voted(boxes)
    found, owner = things_of(kind, sides)
    assert len(found) == 4
    order = [int(hbb_iou(found, np.array([box]))[:, 0].argmax()) for box in boxes]
    np.testing.assert_allclose(found[order], boxes)
    for number, (x1, y1, x2, y2) in zip(order, boxes, strict=True):
        assert (owner[y1:y2, x1:x2] == number).all() and (owner == number).sum() == (x2 - x1) * (y2 - y1)


def test_what_few_pixels_speak_of_is_no_thing() -> None:
    kind, sides = voted([(2, 2, 12, 12)])
    kind[:, 5:] = 0.01  # three of ten columns are left: 0.9 * 0.3 of the box
    assert len(things_of(kind, sides)[0]) == 1
    kind[:, 4:] = 0.01  # two: 0.18
    found, owner = things_of(kind, sides)
    assert found.shape == (0, 4) and (owner == -1).all()
    assert things_of(np.full((5, 5), 0.01), np.ones((4, 5, 5)))[0].shape == (0, 4)


def test_one_thing_of_many_pixels_is_one_however_its_votes_spread() -> None:
    kind, sides = voted([(0, 0, 30, 20)])
    sides = np.maximum(sides + np.random.default_rng(0).normal(0, 0.5, sides.shape), 0.1)
    found, _ = things_of(kind, sides)
    assert len(found) == 1 and np.abs(found[0] - [0, 0, 30, 20]).max() < 0.3


def test_the_sides_of_targets_are_those_of_their_hulls() -> None:
    numbers = torch.zeros(2, 24, 24, dtype=torch.uint8)
    numbers[0, 4:12, 8:20], numbers[0, 16:20, 0:8], numbers[1, 0:24, 0:12] = 1, 2, 1
    place, told, share = target_sides(numbers, (12, 12))
    assert len(told) == 4 * 6 + 2 * 4 + 12 * 6
    for (x1, y1, x2, y2), chosen in {
        (4, 2, 10, 6): (place[0] == 0) & (place[1] < 7), (0, 8, 4, 10): (place[0] == 0) & (place[1] > 7),
        (0, 0, 6, 12): place[0] == 1,
    }.items():  # fmt: skip
        y, x = place[1][chosen] + 0.5, place[2][chosen] + 0.5
        torch.testing.assert_close(told[chosen], torch.stack([x - x1, y - y1, x2 - x, y2 - y], 1))
        assert float(share[chosen].sum()) == pytest.approx(1 / 3)


def test_giou_is_that_of_the_boxes() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(50, 4) * 5, torch.rand(50, 4) * 5
    boxes = [np.concatenate([-d.numpy()[:, :2], d.numpy()[:, 2:]], 1) for d in (a, b)]
    iou = np.diagonal(hbb_iou(*boxes))
    hull = np.concatenate([np.minimum(*boxes)[:, :2], np.maximum(*boxes)[:, 2:]], 1)
    area = [np.prod(box[:, 2:] - box[:, :2], 1) for box in (*boxes, hull)]
    union = (area[0] + area[1]) / (1 + iou)
    np.testing.assert_allclose(giou(a, b), iou - (area[2] - union) / area[2], rtol=1e-4)


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
    assert 0 < losses["object_box"].item() < 2
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
        expert.sides[-1].weight.zero_()
        expert.sides[-1].bias.fill_(np.log(6))  # as the middle of the picture sees its edges
    size, compared = [(60, 120)] * 4, {"change": np.eye(60, 120, dtype=np.uint8)}
    with torch.no_grad():
        answers = expert.answer(AnswerInput(inputs=inputs, size_px=size, maps=[{}, {}, {}, compared]))
    assert sorted(answers) == [0, 1, 3] and answers[3]["mask"].sum() == 60 and "boxes_px" not in answers[3]
    answer = answers[0]
    assert answer["mask"].shape == (60, 120) and len(answer["masks"]) == len(answer["boxes_px"]) > 0
    assert (np.sum(answer["masks"], 0) == answer["mask"]).all()
    assert (answer["boxes_px"] >= 0).all() and (answer["boxes_px"] <= [120, 60, 120, 60]).all()
    with pytest.raises(UserError, match=r"expert\.objects\.width=12"):
        expert_of(width=12)
