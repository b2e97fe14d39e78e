"""COCO's run-length code of a mask, both ways, from its description alone: column by column, zeros first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.errors import UserError


def decode_rle(counts: str | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool mask of a run-length code.

    Args:
        counts: lengths of runs of 0 and 1 in turn, beginning with 0, down the first column, then the second; as
            numbers, or as COCO's compressed string (six bits a character from "0" on, five of them data, little end
            first; from the fourth number on the difference to the one before the last).
        size: (H, W).

    Raises:
        UserError: for characters outside of the code, a string that stops within a number, runs that are negative or
            do not add up to H * W.
    """
    height, width = size
    runs = runs_of(counts, size)
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def runs_of(counts: str | Sequence[int], size: tuple[int, int]) -> list[int]:
    """The runs of a code, checked but not decoded; arguments and errors as `decode_rle`."""
    runs = _numbers(counts) if isinstance(counts, str) else list(counts)
    if any(run < 0 for run in runs):
        raise UserError("a run-length code holds a negative run. It is damaged, or not COCO's: download it again")
    height, width = size
    if sum(runs) != height * width:
        raise UserError(
            f"a run-length code covers {sum(runs)} pixels, its size [{height}, {width}] has {height * width}. "
            "It is truncated, or its size is not [height, width]"
        )
    return runs


def encode_rle(mask: np.ndarray) -> str:
    """COCO's compressed string of a (H, W) mask, True or non-zero inside; the reverse of `decode_rle`."""
    pixels = mask.T.reshape(-1).astype(bool)
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    begins = [0, *changes.tolist()] if not pixels.size or not pixels[0] else [0, 0, *changes.tolist()]
    runs = [end - begin for begin, end in zip(begins, [*begins[1:], pixels.size], strict=True)]
    text = []
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        while True:
            bits, number = number & 31, number >> 5
            # the last piece carries the sign in its fifth bit
            if number == (-1 if bits & 16 else 0):
                text.append(chr(48 + bits))
                break
            text.append(chr(48 + (bits | 32)))
    return "".join(text)


def _numbers(text: str) -> list[int]:
    runs: list[int] = []
    number = shift = 0
    for place, char in enumerate(text):
        bits = ord(char) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise UserError(f"{char!r} at place {place} of a run-length code is not COCO's compressed form")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    if shift:
        raise UserError(f"a run-length code of {len(text)} characters stops within a number: it is truncated")
    return runs
