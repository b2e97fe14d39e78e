"""Batches that mix samples of one date and of two."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.errors import UserError
from rsmoe.temporal import TemporalInput, VisualMemory


def perceive_pairs(dates: TemporalInput, perceive: Callable[[Tensor, Tensor], Tensor]) -> VisualMemory:
    """Sends the samples with two dates through ``perceive``, and passes those with one date through unchanged.

    ``perceive`` is called once, on the pairs alone, even when there are none: its parameters then have zero gradients
    instead of none, as distributed training needs.

    Args:
        dates: of tokens (B, T, N, D), T at most 2.
        perceive: tokens before (R, N, D), tokens after (R, N, D) -> memory (R, N', D), N' >= N.

    Returns:
        the memory, of N tokens if T = 1, else of N'; the tokens past N of a sample with one date are masked.

    Raises:
        UserError: a sample has three or more dates.
    """
    tokens, frames = dates.tokens, dates.frames
    times, count = tokens.shape[1], tokens.shape[2]
    if times > 2:
        raise UserError(
            f"samples have up to {times} dates, and this temporal module compares two. Give it pairs of images"
        )
    paired = frames == 2
    pairs, singles = paired.nonzero().squeeze(1), (~paired).nonzero().squeeze(1)
    assert times == 2 or not len(pairs), "frames says 2, tokens have one date"
    memory = perceive(tokens[pairs, 0], tokens[pairs, times - 1])  # (R, N', D)
    length = memory.shape[1] if times == 2 else count
    single = F.pad(tokens[singles, 0], (0, 0, 0, length - count))
    joined = tokens.new_zeros(len(tokens), length, tokens.shape[3])
    joined = joined.index_copy(0, singles, single).index_copy(0, pairs, memory[:, :length].to(tokens.dtype))
    valid = torch.where(paired, length, count)  # (B,)
    return VisualMemory(tokens=joined, mask=torch.arange(length, device=tokens.device) < valid[:, None])
