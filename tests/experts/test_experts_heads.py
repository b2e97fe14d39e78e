"""Expert yamls, and the two heads: the mask follows the text, the embeddings match images with texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch.nn import functional as F

from rsmoe.data.tasks import task_names
from rsmoe.errors import UserError
from rsmoe.experts.expert import Expert, HeadInput
from rsmoe.experts.mask import MaskExpert
from rsmoe.experts.retrieval import RetrievalExpert
from rsmoe.parts import instantiate

CONF = Path(__file__).parents[2] / "conf"
WIDTHS = {"hidden_width": 24, "pyramid_widths": (16, 32)}


def alone(n: int) -> torch.Tensor:
    """No map of change describes these samples."""
    return torch.zeros(n, dtype=torch.bool)


def mask_expert(**options: int) -> MaskExpert:
    torch.manual_seed(0)
    return MaskExpert(name="mask", tasks=["mask"], **{**WIDTHS, **options})


def mask_input(n: int = 3, b: int = 4) -> HeadInput:
    torch.manual_seed(1)
    pyramid = (torch.randn(b, 16, 12, 12), torch.randn(b, 32, 6, 6))
    sample = torch.tensor([3, 0, 1])[:n]
    return HeadInput(hidden=torch.randn(n, 24), sample=sample, view=sample, pyramid=pyramid, compared=alone(n))


def mask_batch(has: list[bool]) -> SimpleNamespace:
    torch.manual_seed(2)
    return SimpleNamespace(masks=(torch.rand(len(has), 48, 48) > 0.7).to(torch.uint8), has_mask=torch.tensor(has))


@pytest.mark.parametrize("path", sorted((CONF / "expert").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_expert_yaml(path: Path) -> None:
    expert = instantiate(yaml.safe_load(path.read_text()), **WIDTHS)
    assert isinstance(expert, Expert) and expert.name == path.stem
    assert f"# @package expert.{path.stem}" in path.read_text()  # or two experts would overwrite each other
    assert expert.token in (None, "[SEG]", "[RET]")
    if expert.token is None:
        with pytest.raises(TypeError, match="no head"):
            expert.head(mask_input())


def test_every_task_has_an_expert() -> None:
    served = {t for p in (CONF / "expert").glob("*.yaml") for t in yaml.safe_load(p.read_text())["tasks"]}
    assert served == set(task_names())


def test_unknown_task_is_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'caption'"):
        Expert(name="x", tasks=["captions"], **WIDTHS)


def test_mask_losses_are_bce_and_dice_of_the_samples_that_have_a_mask() -> None:
    expert, inputs, batch = mask_expert(), mask_input(), mask_batch([True, False, True, True])
    logits = F.interpolate(expert.head(inputs)[:, None], size=(48, 48), mode="bilinear", align_corners=False)[:, 0]
    assert expert.head(inputs).shape == (3, 12, 12)
    has = [0, 1]  # samples 3 and 0; sample 1 has no mask
    p, t = logits.sigmoid()[has], batch.masks[inputs.sample][has].float()
    dice = (1 - (2 * (p * t).sum((1, 2)) + 1) / ((p + t).sum((1, 2)) + 1)).mean()
    losses = expert.losses(inputs, batch)
    torch.testing.assert_close(losses["mask_bce"], F.binary_cross_entropy(p, t))
    torch.testing.assert_close(losses["mask_dice"], dice)


def test_mask_losses_without_any_mask_keep_every_gradient() -> None:
    expert = mask_expert()
    sum(expert.losses(mask_input(), mask_batch([False] * 4)).values()).backward()
    assert all(p.grad is not None and not p.grad.any() for p in expert.parameters())


def test_mask_samples_are_independent() -> None:
    """A sample's mask comes from its own image and state, whatever else is in the batch."""
    expert, inputs = mask_expert(), mask_input()
    torch.testing.assert_close(expert.head(inputs[torch.tensor([1])])[0], expert.head(inputs)[1], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_mask_follows_the_text() -> None:
    """Two squares of two colours per image: the hidden state says which one, "left" or "right" too."""
    torch.manual_seed(0)
    expert = mask_expert(width=16)
    n, size = 32, 16
    optimizer = torch.optim.AdamW(expert.parameters(), lr=5e-3)
    words = torch.randn(4, 24)  # red, blue, left, right

    def scenes() -> tuple[HeadInput, torch.Tensor]:
        top, left, right = torch.randint(0, size - 4, (n,)), torch.randint(0, 4, (n,)), torch.randint(8, 12, (n,))
        red_left = torch.rand(n) < 0.5
        image, place = torch.randn(n, 16, size, size) * 0.1, torch.zeros(n, 2, size, size)
        for i in range(n):
            for side, x in enumerate((left[i], right[i])):
                image[i, 0 if red_left[i] == (side == 0) else 1, top[i] : top[i] + 4, x : x + 4] += 1
                place[i, side, top[i] : top[i] + 4, x : x + 4] = 1
        ask = torch.randint(0, 4, (n,))
        side = torch.where(ask >= 2, ask - 2, (ask == 0).ne(red_left).long())
        coarse = F.avg_pool2d(image, 2).repeat(1, 2, 1, 1)
        rows = torch.arange(n)
        inputs = HeadInput(hidden=words[ask], sample=rows, view=rows, pyramid=(image, coarse), compared=alone(n))
        return inputs, place[rows, side].to(torch.uint8)

    for _ in range(150):
        inputs, target = scenes()
        batch = SimpleNamespace(masks=target, has_mask=torch.ones(n, dtype=torch.bool))
        losses = expert.losses(inputs, batch)
        optimizer.zero_grad()
        (2.0 * losses["mask_bce"] + 0.5 * losses["mask_dice"]).backward()
        optimizer.step()
    inputs, target = scenes()  # scenes it has never seen

    def iou(hidden: torch.Tensor) -> float:
        asked = replace(inputs, hidden=hidden)
        p = expert.head(asked) > 0
        return float(((p & target.bool()).sum((1, 2)) / (p | target.bool()).sum((1, 2))).mean())

    assert iou(inputs.hidden) > 0.8
    assert iou(inputs.hidden.roll(1, 0)) < 0.75  # another question, another mask


def retrieval_expert(**options: int) -> RetrievalExpert:
    torch.manual_seed(0)
    return RetrievalExpert(name="retrieval", tasks=["retrieval"], **{**WIDTHS, **options})


def retrieval_case(texts: list[list[int]]) -> tuple[HeadInput, SimpleNamespace]:
    torch.manual_seed(1)
    ids = torch.tensor(texts)
    n = len(texts)
    hidden, text = torch.randn(n, 24), torch.randn(n, 24)
    rows = torch.arange(n)
    inputs = HeadInput(hidden=hidden, sample=rows, view=rows, pyramid=(), compared=alone(n), text_hidden=text)
    return inputs, SimpleNamespace(text_ids=ids, text_mask=ids > 0)


def test_retrieval_loss_is_symmetric_info_nce() -> None:
    expert = retrieval_expert(dim=8)
    inputs, batch = retrieval_case([[5, 6], [5, 0], [7, 8]])
    image, text = expert.head(inputs), expert.embed_text(inputs.text_hidden)
    assert image.shape == (3, 8)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(3))
    logits = image @ text.T / 0.07
    expected = (F.cross_entropy(logits, torch.arange(3)) + F.cross_entropy(logits.T, torch.arange(3))) / 2
    torch.testing.assert_close(expert.losses(inputs, batch)["retrieval"], expected)


def test_retrieval_duplicates_are_positives() -> None:
    """Two images of one text: what tells them apart is not learned, and a perfect model has the entropy of the tie."""
    expert = retrieval_expert()
    inputs, batch = retrieval_case([[5, 6], [5, 6], [7, 8]])
    with torch.no_grad():
        expert.text.load_state_dict(expert.image.state_dict())
    same = inputs.hidden[[0, 0, 2]] * torch.tensor([1.0, 1.0, -1.0])[:, None]
    perfect = replace(inputs, hidden=same, text_hidden=same)
    tie = 2 / 3 * torch.log(torch.tensor(2.0))
    torch.testing.assert_close(expert.losses(perfect, batch)["retrieval"], tie, atol=1e-3, rtol=0)
    distinct = retrieval_case([[5, 6], [5, 7], [7, 8]])[1]
    assert expert.losses(perfect, distinct)["retrieval"] >= tie - 1e-3


def test_captions_of_one_view_are_positives() -> None:
    expert = retrieval_expert()
    inputs, texts = retrieval_case([[5, 6], [5, 7], [7, 8]])
    _, tied = retrieval_case([[5, 6], [5, 6], [7, 8]])
    one = replace(inputs, view=torch.tensor([0, 0, 1]))
    same = expert.losses(one, texts)["retrieval"]
    torch.testing.assert_close(same, expert.losses(inputs, tied)["retrieval"])
    assert not torch.isclose(same, expert.losses(inputs, texts)["retrieval"])


def test_retrieval_learns_to_match() -> None:
    expert = retrieval_expert(dim=16)
    inputs, batch = retrieval_case([[i, i] for i in range(1, 17)])
    optimizer = torch.optim.Adam(expert.parameters(), lr=1e-2)
    for _ in range(60):
        loss = expert.losses(inputs, batch)["retrieval"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = (expert.head(inputs) @ expert.embed_text(inputs.text_hidden).T).argmax(1)
    assert torch.equal(found, torch.arange(16))


def test_retrieval_edges() -> None:
    """One sample: zero, with every gradient there. Temperature bounded. No texts: no loss."""
    expert = retrieval_expert()
    inputs, batch = retrieval_case([[5, 6]])
    loss = expert.losses(inputs, batch)["retrieval"]
    loss.backward()
    assert loss == 0 and all(p.grad is not None for p in expert.parameters())
    inputs, batch = retrieval_case([[5, 6], [7, 8]])
    expert.logit_scale.data.fill_(50.0)
    assert expert.losses(inputs, batch)["retrieval"] <= 200.0
    silent = replace(inputs, text_hidden=None)
    assert expert.losses(silent, batch) == {}
