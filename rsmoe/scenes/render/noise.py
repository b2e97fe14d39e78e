"""Periodic noise tiles, computed once and then only cut out."""

from __future__ import annotations

from functools import cache

import numpy as np

TILE = 512
"""Side of every tile in pixels; larger pictures repeat it."""


def _spectrum(seed: int, gain: np.ndarray) -> np.ndarray:
    """White noise shaped by a gain over frequencies, zero mean, unit deviation, (TILE, TILE) float32."""
    white = np.random.default_rng(seed).standard_normal((TILE, TILE))
    field = np.fft.irfft2(np.fft.rfft2(white) * gain, s=(TILE, TILE))
    field = (field - field.mean()) / field.std()
    # On a grid of 1/256 the last bits that FFT builds disagree about are gone.
    return (np.round(field * 256) / 256).astype(np.float32)


def _frequencies() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cycles per pixel along y, along x, and their length (zero frequency replaced by infinity)."""
    fy, fx = np.meshgrid(np.fft.fftfreq(TILE), np.fft.rfftfreq(TILE), indexing="ij")
    length = np.hypot(fy, fx)
    length[0, 0] = np.inf
    return fy, fx, length


@cache
def tile(kind: str) -> np.ndarray:
    """(TILE, TILE) float32 noise, zero mean and unit deviation.

    Kinds: "white", "fine" (2-7 px), "mid" (1/f up to 40 px), "coarse" (1/f of all sizes), "patch" (smooth, from
    40 px), "swell" (waves in one direction), "ripple" (fine waves), "dunes" and "ridges" (relief, sharp crests).
    """
    fy, fx, f = _frequencies()
    if kind == "white":
        return _spectrum(11, np.ones_like(f))
    if kind == "fine":
        return _spectrum(12, f**-0.5 * (f > 1 / 7) * np.exp(-((f / 0.42) ** 4)))
    if kind == "mid":
        return _spectrum(13, f**-1.35 * (f > 1 / 40) * np.exp(-((f / 0.3) ** 2)))
    if kind == "coarse":
        return _spectrum(14, f**-1.7 * (f > 1 / 400))
    if kind == "patch":
        return _spectrum(15, f**-1.7 * (f < 1 / 16))
    turn = np.arctan2(fy, fx)
    if kind == "swell":
        spread = np.exp(-((np.sin(turn - 0.5) / 0.28) ** 2))
        return _spectrum(16, spread * f**-0.8 * ((f > 1 / 40) & (f < 1 / 5)))
    if kind == "ripple":
        spread = np.exp(-((np.sin(turn - 0.9) / 0.6) ** 2))
        return _spectrum(17, spread * ((f > 1 / 9) & (f < 1 / 2.5)))
    if kind == "dunes":
        spread = np.exp(-((np.sin(turn - 0.4) / 0.35) ** 2))
        crest = 1 - np.abs(_spectrum(18, spread * f**-1.6 * ((f > 1 / 90) & (f < 1 / 14))))
        return ((crest - crest.mean()) / crest.std()).astype(np.float32)
    if kind == "ridges":
        total = np.zeros((TILE, TILE), np.float32)
        longest = (400, 90, 36, 14, 6)
        for octave in range(4):
            inside = (f >= 1 / longest[octave]) & (f < 1 / longest[octave + 1])
            band = _spectrum(19 + octave, f**-1.2 * inside)
            total += (1 - 1.4 * np.abs(band)) * 0.42**octave
        return ((total - total.mean()) / total.std()).astype(np.float32)
    raise AssertionError(kind)


class NoiseWindow:
    """One random cut through the tiles: the same window gives the same noise, at any call order.

    Args:
        rng: chooses the place of the cut and its mirror image.
        size: side of the cut in pixels.
    """

    def __init__(self, *, rng: np.random.Generator, size: int) -> None:
        self.size = size
        self._start = rng.integers(0, TILE, 2).tolist()
        self._flip = bool(rng.integers(2)), bool(rng.integers(2))

    def cut(self, source: np.ndarray, slide: int = 0) -> np.ndarray:
        """(size, size) window of a periodic (TILE, TILE) array, moved on by ``slide`` pixels; often a view."""
        if self.size <= TILE:
            # Windows that never cross the seam cost no copy.
            room = TILE - self.size + 1
            y, x = (self._start[0] + slide) % room, (self._start[1] + 3 * slide) % room
            window = source[y : y + self.size, x : x + self.size]
        else:
            steps = np.arange(self.size) + slide
            window = source.take((steps + self._start[0]) % TILE, axis=0).take((steps + self._start[1]) % TILE, axis=1)
        return window[:: -1 if self._flip[0] else 1, :: -1 if self._flip[1] else 1]

    def __call__(self, kind: str, slide: int = 0) -> np.ndarray:
        """(size, size) float32 noise of a kind (see `tile`)."""
        return self.cut(tile(kind), slide)

    def offsets(self, down: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Windows of a field of vectors (rows down, columns right), mirrored as the window is."""
        dy, dx = self.cut(down), self.cut(right)
        return (-dy if self._flip[0] else dy), (-dx if self._flip[1] else dx)
