"""Windows of pictures in their own pixels: where they are cut, what is cut along, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rsmoe.data import Sample
from rsmoe.data.collate import Collate
from rsmoe.data.text_codec import TextCodec
from rsmoe.data.transforms.random_window import random_window
from rsmoe.errors import UserError

CODEC = TextCodec.fit(["segment every pixel"], special=("[SEG]", "[RET]"))
HEIGHT, WIDTH, SIZE = 60, 90, 16
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
PLACES = np.stack([ROWS, COLUMNS, np.zeros_like(ROWS)], axis=-1).astype(np.uint8)
"""A picture whose first two bands say where a pixel is."""


def sample(**more: Any) -> Sample:
    given = {
        "id": "s",
        "images": (PLACES,),
        "instruction": "segment every pixel",
        "responses": ("here [SEG]",),
        "task": "mask",
        "source": "toy",
        "class_map": (ROWS // 10).astype(np.uint8),
    }
    return Sample(**(given | more))


def collate(**more: Any) -> Collate:
    still = {"mean": [0.0] * 3, "std": [1.0] * 3, "jitter": 0.0, "crop_area": 1.0, "augment": True}
    return Collate(codec=CODEC, instruction_codec=CODEC, image_size=SIZE, **(still | more))


def test_a_window_has_a_side_of_the_range_and_lies_anywhere() -> None:
    images = [torch.from_numpy(PLACES).permute(2, 0, 1)]
    generator = torch.Generator().manual_seed(0)
    extents, tops, lefts = [], [], []
    for _ in range(200):
        (cut,), _ = random_window(images, [], sides=(20, 80), size=SIZE, generator=generator)
        assert cut.shape == (3, SIZE, SIZE) and cut.dtype == torch.uint8
        # means of the first and last pixels lie half an output pixel from the edges
        extents.append(float(cut[0, -1].float().mean() - cut[0, 0].float().mean()) * SIZE / (SIZE - 1))
        tops.append(int(cut[0].min()))
        lefts.append(int(cut[1].min()))
    assert 18 <= min(extents) < 24 and 54 < max(extents) <= 62  # 80 is more than the height
    assert min(tops) <= 2 and max(tops) > 30 and min(lefts) <= 2 and max(lefts) > 55


def test_the_class_map_is_cut_with_the_pixels_and_turns_with_them() -> None:
    join = collate(window_px=[20, 40])
    for seed in range(20):
        batch = join([(sample(), seed)])
        shown = (batch.pixels[0, 0, 0] * 255).round() / 10  # the row, in classes
        apart = (shown - (batch.class_map[0].float() + 0.45)).abs()
        assert float(apart.max()) < 0.8 and batch.class_map.unique().numel() <= 6


def test_the_mask_of_every_thing_is_cut_with_the_pixels_in_windows_and_in_crops() -> None:
    """Targets are bands of rows, so that a pixel says which one it is on; a part of the picture may hold none."""
    bands = tuple(k == ROWS // 10 for k in range(2))
    asked = sample(class_map=None, mask=ROWS < 20, masks=bands, every=True)
    met = set()
    for options in ({"window_px": [20, 40]}, {"crop_area": 0.15}):
        for seed in range(20):
            batch = collate(**options)([(asked, seed)])
            row = (batch.pixels[0, 0, 0] * 255).round()
            told = torch.where(row < 20, (row / 10).floor() + 1, 0)
            sure = ((row - 10).abs() > 3) & ((row - 20).abs() > 3)
            assert torch.equal(batch.masks[0][sure].float(), told[sure])
            met.add(bool((batch.masks > 0).any()))
    assert met == {True, False}


def test_only_training_and_only_what_may_be_cut() -> None:
    whole = collate(augment=False)([(sample(), 3)])
    assert torch.equal(collate(augment=False, window_px=[20, 40])([(sample(), 3)]).pixels, whole.pixels)
    mask = sample(mask=np.ones((HEIGHT, WIDTH), bool))
    for uncut in (mask, sample(task="vqa"), sample(directional=True)):
        seen = collate(window_px=[20, 40])([(uncut, 3)])
        assert torch.equal(seen.pixels, collate()([(uncut, 3)]).pixels)
        assert torch.equal(seen.class_map, collate()([(uncut, 3)]).class_map)
    pair = sample(images=(PLACES, PLACES[:, ::-1].copy()), class_map=None, task="caption")
    assert collate(window_px=[20, 40])([(pair, 3)]).pixels.shape == (1, 2, 3, SIZE, SIZE)


def test_the_same_seed_cuts_the_same_window() -> None:
    join = collate(window_px=[20, 40])
    first, again, other = (join([(sample(), seed)]).pixels for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("given", [[0, 4], [9, 4], [4], [4, 5, 6]])
def test_sides_that_are_none(given: list[int]) -> None:
    with pytest.raises(UserError, match="expected the least and the greatest side"):
        collate(window_px=given)


def test_dates_of_two_sizes_are_refused() -> None:
    pair = sample(images=(PLACES, PLACES[:30]), class_map=None, task="caption")
    with pytest.raises(UserError, match="cuts dates and their masks and class maps at one place"):
        collate(window_px=[20, 40])([(pair, 0)])
