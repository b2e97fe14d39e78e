"""InfoNCE and the sigmoid loss: by the equations, with several captions a picture, exact over two processes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support.process_group import in_two
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from rsmoe.contrast.info_nce import InfoNCE
from rsmoe.contrast.pairs import Pairs, reference_keys, text_key
from rsmoe.contrast.siglip import SigmoidLoss

LOSSES = {"info_nce": InfoNCE, "siglip": SigmoidLoss}
CAPTIONS = [
    ["a port", "Ships in a port"],
    ["a forest", "many trees"],
    ["a  PORT", "boats"],
    ["a river", "a bank", "water"],
]
"""Of four pictures; the first and the third share a caption but for its capitals and spaces."""
DRAWN = ["a port", "many trees", "boats", "a river"]
PICTURES, TEXTS = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))


def pairs_of(images: Tensor, texts: Tensor, captions: list[list[str]], drawn: list[str]) -> Pairs:
    keys = torch.tensor([text_key(text) for text in drawn])
    return Pairs.gathered(
        F.normalize(images, dim=-1), F.normalize(texts, dim=-1), keys=keys, references=reference_keys(captions)
    )


def test_no_caption_of_a_picture_is_its_negative() -> None:
    pairs = pairs_of(PICTURES, TEXTS, CAPTIONS, DRAWN)
    belongs = torch.eye(4, dtype=torch.bool)
    belongs[2, 0] = True  # "a port" is a caption of the third picture, too, though another one was drawn
    assert torch.equal(pairs.texts_of_image, belongs) and torch.equal(pairs.images_of_text, belongs.T)
    several = pairs_of(PICTURES[:1], TEXTS[:2], CAPTIONS[:1], ["a port", "ships in a port"])
    assert several.texts_of_image.all() and several.images_of_text.all()


def test_info_nce_by_its_equation() -> None:
    pairs = pairs_of(PICTURES, TEXTS, CAPTIONS, DRAWN)
    loss = InfoNCE(temperature=0.1)(pairs)
    cosines = 10 * F.normalize(PICTURES, dim=-1) @ F.normalize(TEXTS, dim=-1).T
    to_texts, to_images = cosines.log_softmax(1), cosines.log_softmax(0)
    first = -(to_texts[0, 0] + to_texts[1, 1] + (to_texts[2, 2] + to_texts[2, 0]) / 2 + to_texts[3, 3]) / 4
    second = -((to_images[0, 0] + to_images[2, 0]) / 2 + to_images[1, 1] + to_images[2, 2] + to_images[3, 3]) / 4
    torch.testing.assert_close(loss, (first + second) / 2)


def test_the_sigmoid_loss_by_its_equation() -> None:
    pairs = pairs_of(PICTURES, TEXTS, CAPTIONS, DRAWN)
    cosines = F.normalize(PICTURES, dim=-1) @ F.normalize(TEXTS, dim=-1).T
    total = 0.0
    for i in range(4):
        for j in range(4):
            sign = 1.0 if i == j or (i, j) == (2, 0) else -1.0
            total += math.log1p(math.exp(-sign * (10 * float(cosines[i, j]) - 10)))
    assert SigmoidLoss()(pairs).item() == pytest.approx(total / 4, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_scale_is_clipped_at_100(name: str) -> None:
    loss = LOSSES[name]()
    pairs = pairs_of(PICTURES, TEXTS, CAPTIONS, DRAWN)
    with torch.no_grad():
        loss.logit_scale.fill_(math.log(100))
        at_most = loss(pairs)
        loss.logit_scale.fill_(9.0)
        assert torch.equal(loss(pairs), at_most)


class _Step(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.image, self.text, self.loss = nn.Linear(6, 5), nn.Linear(6, 5), LOSSES[name]()

    def forward(self, rows: slice) -> Tensor:
        loss: Tensor = self.loss(
            pairs_of(self.image(PICTURES[rows]), self.text(TEXTS[rows]), CAPTIONS[rows], DRAWN[rows])
        )
        return loss


def _two(rank: int, folder: Path) -> None:
    found = {}
    for name in LOSSES:
        model = DistributedDataParallel(_Step(name))
        loss = model(slice(2 * rank, 2 * rank + 2))
        loss.backward()
        found[name] = (loss.detach(), {n.removeprefix("module."): p.grad for n, p in model.named_parameters()})
        del model, loss
    torch.save(found, folder / f"{rank}.pt")


@pytest.mark.slow
def test_two_processes_have_the_loss_and_the_gradient_of_one(tmp_path: Path) -> None:
    """A picture of one rank is true of a text of the other, and the ranks have captions in different numbers."""
    in_two(_two, tmp_path)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name in LOSSES:
        one = _Step(name)
        loss = one(slice(0, 4))
        loss.backward()
        torch.testing.assert_close((found[0][name][0] + found[1][name][0]) / 2, loss.detach())
        for rank in range(2):
            for key, parameter in one.named_parameters():
                torch.testing.assert_close(found[rank][name][1][key], parameter.grad, atol=1e-6, rtol=1e-4)
