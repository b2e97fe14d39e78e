"""Two dates laid on each other: the shift is found, whatever else differs."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from rsmoe.data.transforms.alignment import align, shift_between
from rsmoe.data.transforms.transforms import Transform
from rsmoe.errors import UserError
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.scenes.scene import ScenePair


@cache
def pairs() -> tuple[ScenePair, ...]:
    generator = SceneGenerator(size_px=64, seed=3)
    return tuple(generator.pair(index) for index in range(20))


def dates(pair: ScenePair) -> Tensor:
    """(2, C, H, W) float."""
    return torch.stack([torch.from_numpy(s.image).permute(2, 0, 1).float() for s in (pair.before, pair.after)])


@pytest.mark.parametrize("more", [(0, 0), (5, -6)])
def test_the_shift_of_every_pair_is_found_whatever_light_season_and_changes(more: tuple[int, int]) -> None:
    for pair in pairs():
        first, second = dates(pair)
        moved = second.roll((more[1], more[0]), (1, 2))
        expected = tuple(int(own) + extra for own, extra in zip(pair.shift_px, more, strict=True))
        assert shift_between(first, moved, most_px=8) == expected


def test_other_places_and_plain_pictures_stay_where_they_are() -> None:
    for one, other in zip(pairs(), pairs()[7:], strict=False):
        assert shift_between(dates(one)[0], dates(other)[1], most_px=8) == (0, 0)
    assert shift_between(torch.zeros(3, 64, 64), torch.zeros(3, 64, 64), most_px=8) == (0, 0)
    noise = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    assert shift_between(*noise, most_px=8) == (0, 0)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (-2, 4), (5, -5)])
def test_aligned_dates_show_the_same_place_and_the_first_stands_in_at_the_border(right: int, down: int) -> None:
    ground = dates(pairs()[0])[0]
    first = ground[:, 8:56, 8:56]
    second = 0.8 * ground[:, 8 - down : 56 - down, 8 - right : 56 - right] + 20  # darker, hazy, and beside the first
    aligned = align(torch.stack([first, second]), most_px=6)
    expected = 0.8 * first + 20
    inner = (slice(None), slice(5, -5), slice(5, -5))
    assert torch.equal(aligned[0], first)
    torch.testing.assert_close(aligned[1][inner], expected[inner])
    if right > 0:  # the ground that left the picture on the right is not known
        assert torch.equal(aligned[1][:, :, -right:], first[:, :, -right:])
    if down < 0:
        assert torch.equal(aligned[1][:, :-down], first[:, :-down])


def test_three_dates_one_date_and_no_alignment() -> None:
    first, second = dates(pairs()[1])
    three = torch.stack([first, second, first.roll((0, 3), (1, 2))])
    aligned = align(three, most_px=4)
    torch.testing.assert_close(aligned[2][:, :, 3:-4], first[:, :, 3:-4])
    assert align(three, most_px=0) is three and align(three[:1], most_px=4).shape == (1, 3, 64, 64)


def test_the_transform_aligns_with_and_without_augmentation() -> None:
    from support.transforms import make

    first = dates(pairs()[2])[0]
    images = [first.byte(), first.roll((4, -3), (1, 2)).byte()]
    for augment in (False, True):
        transform = Transform(size=64, mean=[0.0] * 3, std=[1.0] * 3, augment=augment, jitter=0.0, align_px=6)
        seen = transform(images, samples=[make(task="change_vqa")], generator=torch.Generator().manual_seed(1)).pixels
        torch.testing.assert_close(seen[1, :, 6:-6, 6:-6], seen[0, :, 6:-6, 6:-6])
    with pytest.raises(UserError, match="align_px=32"):
        Transform(size=64, mean=[0.0] * 3, std=[1.0] * 3, align_px=32)
