"""A large map in compressed strips of rows, for less memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


class StripMap:
    """An (H, W) uint8 or bool map, written from top to bottom and then read by ``map[top:bottom, left:right]``.

    Maps of classes and masks shrink by a factor of a hundred or more: 20,000 x 20,000 pixels take a few MB.

    Args:
        shape: (H, W).
        dtype: of the values, one byte each.
    """

    def __init__(self, shape: Sequence[int], dtype: type[np.uint8] | type[np.bool_]) -> None:
        self.shape, self.dtype = (int(shape[0]), int(shape[1])), np.dtype(dtype)
        self._tops = [0]
        self._strips: list[bytes] = []
        self._last: tuple[int, np.ndarray] | None = None

    def append(self, strip: np.ndarray) -> None:
        """The next (h, W) rows."""
        self._strips.append(zlib.compress(strip.astype(self.dtype).tobytes(), 1))
        self._tops.append(self._tops[-1] + len(strip))

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        top, bottom, _ = where[0].indices(self.shape[0])
        first = int(np.searchsorted(self._tops, top, side="right")) - 1
        parts = []
        while first < len(self._strips) and self._tops[first] < bottom:
            start = self._tops[first]
            parts.append(self._strip(first)[max(0, top - start) : bottom - start, where[1]])
            first += 1
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), self.dtype)[:, where[1]]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:, :].astype(dtype or self.dtype)

    def _strip(self, number: int) -> np.ndarray:
        if self._last is None or self._last[0] != number:
            values = np.frombuffer(zlib.decompress(self._strips[number]), self.dtype)
            self._last = number, values.reshape(-1, self.shape[1])
        return self._last[1]


def row_slices(shape: Sequence[int], pixels: int = 2**22) -> Iterator[slice]:
    """Rows of an (H, W, ...) map, from top to bottom, in strips of up to ``pixels`` and of one row at least."""
    step = max(1, pixels // max(1, shape[1]))
    for top in range(0, shape[0], step):
        yield slice(top, min(top + step, shape[0]))


def thinned(values: Any, shape: tuple[int, int]) -> np.ndarray:
    """A map (H, W), at some of its pixels, as `rsmoe.geo.dates.Dates.overview` thins a picture."""
    if values.shape == shape:
        return np.asarray(values)
    rows, columns = (np.arange(n) * side // n for n, side in zip(shape, values.shape, strict=True))
    parts = []
    for strip in row_slices(values.shape):
        own = rows[(rows >= strip.start) & (rows < strip.stop)] - strip.start
        if len(own):
            parts.append(values[strip, :][own[:, None], columns])
    return np.concatenate(parts)
