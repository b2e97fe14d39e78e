"""Two dates in the light of the first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_ROUNDS = 3
_STRIDE = 2
"""Of the pixels that are measured."""
_MOST_GAIN = 4.0
"""A band is neither stretched nor shrunk by more."""
_FLAT = 0.5
"""Grey levels of spread: where both dates have less, as borders without data do, nothing tells the gain."""


def match_levels(pixels: Tensor) -> Tensor:
    """Brings the levels of every date but the first, band by band, to those of the first.

    Relative radiometric normalisation by pseudo-invariant features: a gain and an offset a band, by the mean and the
    spread (reduced major axis, for both dates have noise) of the half of the pixels that differ least, which are found
    anew three times. Light, haze and a sensor's gain go; what was built or felled stays where it covers a quarter of
    the picture, and no longer where it covers half. (Schott, Salvaggio and Volchok, Remote Sensing of Environment 26,
    1988, who chose the features by their land cover.)

    Args:
        pixels: (T, C, H, W) float, grey levels 0 to 255, dates laid on each other.

    Returns:
        (T, C, H, W); the first date as it is, the others may leave 0 to 255.
    """
    lines = level_lines(pixels)
    others = [
        date * gain[..., None] + offset[..., None] for date, (gain, offset) in zip(pixels[1:], lines, strict=True)
    ]
    return torch.stack([pixels[0], *others])


def level_lines(pixels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The gain and the offset, (C, 1) each, by which `match_levels` brings every date but the first to the first."""
    first = pixels[0, :, ::_STRIDE, ::_STRIDE].flatten(1)  # (C, N)
    lines = []
    quarters = [int(share * (first.shape[1] - 1)) for share in (0.25, 0.5, 0.75)]
    for date in pixels[1:]:
        other = date[:, ::_STRIDE, ::_STRIDE].flatten(1)
        (low_1, middle_1, high_1), (low_2, middle_2, high_2) = (
            torch.from_numpy(np.partition(x.numpy(), quarters, axis=1)[:, quarters]).split(1, dim=1)
            for x in (first, other)
        )
        gain, offset = _line(high_1 - low_1, middle_1, high_2 - low_2, middle_2)
        for _ in range(_ROUNDS):
            gap = (first - gain * other - offset).abs().sum(0)
            kept = gap.topk(max(2, len(gap) // 2), largest=False).indices
            spread_mean = [moment for x in (first, other) for moment in torch.std_mean(x[:, kept], 1, keepdim=True)]
            gain, offset = _line(*spread_mean)
        lines.append((gain, offset))
    return lines


def _line(spread: Tensor, middle: Tensor, other_spread: Tensor, other_middle: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and offset, (C, 1) each, that bring one spread and middle to the other."""
    gain = (spread / other_spread.clamp_min(1e-3)).clamp(1 / _MOST_GAIN, _MOST_GAIN)
    gain = torch.where((spread < _FLAT) & (other_spread < _FLAT), 1.0, gain)
    return gain, middle - gain * other_middle
