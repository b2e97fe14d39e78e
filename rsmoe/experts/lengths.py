"""Short and long rows of one batch, apart where that saves padding."""

from __future__ import annotations

import torch
from torch import Tensor


def by_length(lengths: Tensor, start: int) -> list[Tensor]:
    """Places of R rows, in one part or in two, short rows and long ones, each in ascending order.

    Two where that saves at least a fifth of the positions that one padded pass would compute.

    Args:
        lengths: (R,) long, tokens of each answer.
        start: positions before the answers.
    """
    longest, count = int(lengths.max()) if len(lengths) else 0, len(lengths)
    places = torch.arange(count, device=lengths.device)
    if longest < 2:
        return [places]
    ordered = lengths.sort().values
    below = places + 1  # rows in the short part, when it ends with row k
    cost = below * (start + ordered) + (count - below) * (start + longest)
    best = int(cost.argmin())
    if int(cost[best]) > 0.8 * count * (start + longest):
        return [places]
    short = lengths <= ordered[best]
    return [places[short], places[~short]]


def widened(value: Tensor, length: int) -> Tensor:
    """(r, l, ...) -> (r, length, ...) with zeros behind."""
    missing = length - value.shape[1]
    return torch.cat([value, value.new_zeros(len(value), missing, *value.shape[2:])], dim=1) if missing else value
