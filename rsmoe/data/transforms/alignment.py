"""Two dates laid on each other.

The shift between them is found and taken back before anything compares them.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WEAK = 8.0
"""Grey levels: gradients below it are noise and count less."""
_SURE = 0.2
"""Correlation from which a shift is believed: two dates of a place have 0.5 to 0.95, two places 0.02 to 0.11."""


def shift_between(first: Tensor, second: Tensor, *, most_px: int) -> tuple[int, int]:
    """Image registration: the shift of ``second`` against ``first`` in pixels (right, down).

    Orientation correlation: where the directions of the gradients agree most. Light, haze and season change their
    lengths and leave most of their directions, and what has been built is a small part of the picture. (Fitch,
    Kadyrov, Christmas and Kittler, "Orientation Correlation", BMVC 2002; there without a limit on the shift.)

    Args:
        first, second: (C, H, W) float, grey levels 0 to 255, of one size.
        most_px: greatest shift along each axis that is looked for.

    Returns:
        Whole pixels; (0, 0) where no shift correlates by 0.2: dates that share little stay where they are.
    """
    one, other = _directions(first), _directions(second)
    energy = (one.abs().square().sum() * other.abs().square().sum()).sqrt()
    if not float(energy) > 0:
        return 0, 0
    size = [side + most_px for side in one.shape]  # room for the shift: what leaves at one side must not enter again
    spectrum = torch.fft.fft2(one, s=size).conj() * torch.fft.fft2(other, s=size)
    near = torch.arange(-most_px, most_px + 1)
    agreement = torch.fft.ifft2(spectrum).real[near[:, None], near] / energy  # (rows, columns) of shifts
    best = int(agreement.argmax())
    if float(agreement.max()) < _SURE:
        return 0, 0
    return best % len(near) - most_px, best // len(near) - most_px


def align(pixels: Tensor, *, most_px: int) -> Tensor:
    """Moves every date but the first by whole pixels onto the first, see `shift_between`.

    Where a moved date shows nothing, the pixels of the first stand in: what one date does not show is no change.

    Args:
        pixels: (T, C, H, W) float, grey levels 0 to 255.
        most_px: greatest shift along each axis; 0 leaves everything as it is.

    Returns:
        (T, C, H, W); ``pixels`` themselves where nothing moves.
    """
    if len(pixels) < 2 or most_px == 0:
        return pixels
    height, width = pixels.shape[-2:]
    aligned = pixels.clone()
    for date in range(1, len(pixels)):
        right, down = shift_between(pixels[0], pixels[date], most_px=most_px)
        rows, columns = slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right))
        from_rows = slice(max(0, down), height - max(0, -down))
        from_columns = slice(max(0, right), width - max(0, -right))
        aligned[date] = pixels[0]
        aligned[date, :, rows, columns] = pixels[date, :, from_rows, from_columns]
    return aligned


def _directions(picture: Tensor) -> Tensor:
    """(C, H, W) -> (H - 2, W - 2) complex, of length below 1: where the gradient of the mean of the bands points."""
    grey = picture.mean(0)
    gradient = torch.complex(grey[1:-1, 2:] - grey[1:-1, :-2], grey[2:, 1:-1] - grey[:-2, 1:-1])
    return gradient / (gradient.abs() + _WEAK)
