"""COCO run-length encoding (RLE) of binary masks: column by column, zeros first.

Not pycocotools: a code that covers fewer pixels than its size gives it uninitialised memory as a mask, so that every
code has to be read here before, which takes as long as decoding it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.errors import UserError

_MOST = 2**48
"""More pixels than any picture has; larger runs are refused whatever they are."""


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


def runs_of(counts: str | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """(n,) int64: the runs of a code, checked but not decoded; arguments and errors as `decode_rle`."""
    runs = (
        _numbers(counts) if isinstance(counts, str) else np.array([min(run, _MOST) for run in counts], dtype=np.int64)
    )
    height, width = size
    if (runs < 0).any():
        raise UserError("a run-length code holds a negative run. It is damaged, or not COCO's: download it again")
    if (runs > height * width).any() or runs.sum() != height * width:
        raise UserError(
            f"a run-length code covers {sum(runs.tolist())} pixels, its size [{height}, {width}] has {height * width}. "
            "It is truncated, or its size is not [height, width]"
        )
    return runs


def encode_rle(mask: np.ndarray) -> str:
    """COCO's compressed string of a (H, W) mask, True or non-zero inside; the reverse of `decode_rle`."""
    pixels = np.concatenate([[False], mask.T.reshape(-1).astype(bool)])  # the first run is one of zeros
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    runs = np.diff(changes, prepend=0, append=mask.size)
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    rest, text, used = numbers, [], []
    left = np.ones(len(runs), dtype=bool)
    while left.any():
        bits, rest = rest & 31, rest >> 5
        last = rest == -(bits >> 4)  # the last piece carries the sign in its fifth bit
        text.append(np.where(last, bits, bits | 32) + 48)
        used.append(left)
        left = left & ~last
    return np.stack(text, axis=1)[np.stack(used, axis=1)].astype(np.uint8).tobytes().decode("ascii")


def _numbers(text: str) -> np.ndarray:
    pieces = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.int64) - 48
    ends = pieces & 32 == 0
    stops = np.flatnonzero(ends) + 1
    begins = np.concatenate([[0], stops])
    number = np.cumsum(ends) - ends  # that a piece belongs to
    shift = 5 * (np.arange(len(pieces)) - begins[number])
    wrong = (pieces < 0) | (pieces >= 64) | (shift > 40)
    if wrong.any():
        first = int(wrong.argmax())
        raise UserError(f"{text[first]!r} at place {first} of a run-length code is not COCO's compressed form")
    if begins[-1] != len(pieces):
        raise UserError(f"a run-length code of {len(text)} characters stops within a number: it is truncated")
    signed = (pieces & 31) - ((pieces & 48) == 16) * 32  # the last piece carries the sign in its fifth bit
    runs = np.add.reduceat(signed << shift, begins[:-1]) if len(stops) else pieces
    for parity in (1, 2):
        runs[parity::2] = runs[parity::2].cumsum()
    return runs
