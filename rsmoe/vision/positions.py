"""Where a token of a convolutional encoder lies in the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

GRID_SIDE = 3
"""Cells a side of the coarse grid: the places of captions ("in the top left corner") and of change instructions."""


def sine_positions(height: int, width: int, channels: int, *, device: torch.device | None = None) -> Tensor:
    """(height * width, channels) sines and cosines of the rows, then of the columns (DETR, arXiv 2005.12872, 3.2).

    Coordinates are fractions of the image, so that a grid of another size describes the same places.
    ``channels`` must be a multiple of 4.
    """
    quarter = channels // 4
    # from half a turn over the image, so that no two places agree, to 16 turns
    rate = math.pi * 32.0 ** (torch.arange(quarter, device=device) / max(1, quarter - 1))
    waves = []
    for size in (height, width):
        angle = ((torch.arange(size, device=device) + 0.5) / size)[:, None] * rate  # (size, C/4)
        waves.append(torch.cat([angle.sin(), angle.cos()], dim=-1))  # (size, C/2)
    rows, columns = waves
    grid = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)
    return grid.reshape(height * width, channels)
