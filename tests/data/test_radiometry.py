"""Two dates in the light of the first: gain, haze and tint go, what was built stays."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from rsmoe.data.transforms.alignment import align
from rsmoe.data.transforms.radiometry import match_levels
from rsmoe.data.transforms.transforms import Transform
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.scenes.scene import ScenePair


@cache
def pairs() -> tuple[ScenePair, ...]:
    generator = SceneGenerator(size_px=64, seed=5)
    return tuple(generator.pair(index) for index in range(60))


def dates(pair: ScenePair) -> Tensor:
    """(2, 3, 64, 64) float, laid on each other."""
    seen = torch.stack([torch.from_numpy(s.image).permute(2, 0, 1).float() for s in (pair.before, pair.after)])
    return align(seen, most_px=8)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25])
def test_a_gain_and_an_offset_a_band_are_found_beside_what_was_built(share: float) -> None:
    first = dates(pairs()[0])[0]
    gain, offset = torch.tensor([1.4, 0.8, 0.6])[:, None, None], torch.tensor([-10.0, 20.0, 5.0])[:, None, None]
    second = gain * first + offset
    rows = round(share * 64)
    second[:, :rows] = 230.0  # a roof
    matched = match_levels(torch.stack([first, second]))
    assert torch.equal(matched[0], first)
    torch.testing.assert_close(matched[1, :, rows:], first[:, rows:], atol=1e-2, rtol=0)
    roof = (230 - offset) / gain  # as the first day would have shown it
    torch.testing.assert_close(matched[1, :, :rows], roof.expand(3, rows, 64), atol=1e-2, rtol=0)


def test_of_generated_pairs_less_differs_where_nothing_changed_and_change_stands_out_more() -> None:
    calmer, clearer = [], []
    for pair in pairs():
        seen, still = dates(pair), torch.from_numpy(pair.change_mask == 0)
        gaps = [(x[1] - x[0]).abs().mean(0) for x in (seen, match_levels(seen))]
        calmer.append(float(gaps[1][still].mean() / gaps[0][still].mean()))
        if pair.changes:
            stands_out = [float(gap[~still].mean() / gap[still].mean()) for gap in gaps]
            clearer.append(stands_out[1] / stands_out[0])
    assert np.median(calmer) < 0.8 and np.mean(np.array(calmer) < 1) > 0.9
    assert len(clearer) > 20 and np.median(clearer) > 1.05


def test_dates_without_data_keep_their_contrast() -> None:
    """Most of both is border: it tells nothing, and must not flatten the rest."""
    seen = torch.zeros(2, 3, 64, 64)
    seen[:, :, 40:] = dates(pairs()[1])[0, :, 40:]
    torch.testing.assert_close(match_levels(seen), seen)
    assert torch.isfinite(match_levels(torch.zeros(2, 3, 64, 64))).all()


def test_one_date_stays_and_each_of_three_is_matched() -> None:
    first, second = dates(pairs()[2])
    assert torch.equal(match_levels(first[None]), first[None])
    three = match_levels(torch.stack([first, second, 0.5 * first]))
    torch.testing.assert_close(three[1], match_levels(torch.stack([first, second]))[1])
    torch.testing.assert_close(three[2], first, atol=1e-2, rtol=0)


@pytest.mark.parametrize("augment", [False, True])
def test_the_transform_matches_after_it_has_relit_each_date(augment: bool) -> None:
    from support.transforms import make

    first = dates(pairs()[3])[0]
    images = [first.byte(), (0.7 * first + 20).byte()]
    for on, close in ((True, True), (False, False)):
        transform = Transform(size=64, mean=[0.0] * 3, std=[1.0] * 3, augment=augment, jitter=0.2, match_levels=on)
        seen = transform(images, samples=[make(task="change_vqa")], generator=torch.Generator().manual_seed(1)).pixels
        gap = (seen[1] - seen[0]).abs().flatten().quantile(0.95)  # on the scale 0-1; the dates are bytes, clipped
        assert (float(gap) < 0.01) == close
