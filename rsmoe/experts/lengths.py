"""Short and long rows of one batch, apart where that saves padding."""

from __future__ import annotations

import torch
from torch import Tensor

WORTH = 0.8
"""Share of the positions of one padded pass that two may compute together, at most."""


def by_length(starts: Tensor, answers: Tensor) -> list[Tensor]:
    """Places of R rows, in as many parts as are worth it, each in ascending order.

    A part computes (longest start + longest answer) positions for every row; it is cut in two, short rows and long
    ones, where that leaves at most `WORTH` of the positions, and each of the two again.

    Args:
        starts, answers: (R,) long, tokens that are read and tokens that are answered.
    """
    return _parts(torch.arange(len(starts), device=starts.device), starts, answers)


def _parts(places: Tensor, starts: Tensor, answers: Tensor) -> list[Tensor]:
    count = len(places)
    if count < 2:
        return [places]
    order = places[(starts + answers)[places].argsort(stable=True)]
    start, answer = starts[order], answers[order]
    short = start.cummax(0).values + answer.cummax(0).values  # width of the part that ends with row k
    rest = start.flip(0).cummax(0).values.flip(0) + answer.flip(0).cummax(0).values.flip(0)  # that begins with row k
    below = torch.arange(1, count, device=places.device)
    cost = below * short[:-1] + (count - below) * rest[1:]
    best = int(cost.argmin())
    if int(cost[best]) > WORTH * count * int(short[-1]):
        return [places]
    cut = order[: best + 1].sort().values, order[best + 1 :].sort().values
    return [part for half in cut for part in _parts(half, starts, answers)]


def widened(value: Tensor, length: int) -> Tensor:
    """(r, l, ...) -> (r, length, ...) with zeros behind."""
    missing = length - value.shape[1]
    return torch.cat([value, value.new_zeros(len(value), missing, *value.shape[2:])], dim=1) if missing else value
