"""Copies of a picture that were encoded again, resized, turned, mirrored or cut: two stages, both on thumbnails.

1. *Candidates.* 8 x 8 grey values of the middle of each training picture are correlated with those of 27 windows of
   each test picture in its eight symmetries: one matrix product. It misses next to nothing and believes everything: two
   beaches correlate as well as two copies.
2. *Verification.* Each candidate is laid over the training picture, at nine scales and every shift of up to a fifth, by
   cross-correlation in the Fourier domain. What is compared is only texture (a band of frequencies over its strength
   around each pixel), so that one coast line in common counts as little as it covers. Where texture agrees, it must
   agree in most directions: the slabs of two runways agree in one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rsmoe.data.overlap.fingerprint import SIDE
from rsmoe.errors import UserError

SYMMETRIES = (
    "same",
    "mirrored left-right",
    "mirrored top-bottom",
    "turned by 180",
    "transposed",
    "turned clockwise",
    "turned counterclockwise",
    "transposed and turned by 180",
)
"""What is done to the test picture to lie on the training picture."""

THRESHOLD = 0.7
"""Least `Match.score` of a copy; experiments/overlap/README.md shows the scores of copies and of look-alikes."""

GRID = 8
"""Side of the thumbnails that are compared, in pixels."""
MIDDLE = 0.8
"""Side of the compared middle of a training picture: what a shift of 10 % in any direction leaves."""
CANDIDATES = 16
"""Most (symmetry, training picture) that are verified for a test picture; planted copies were always the first."""
LEAST_CORRELATION = 0.6
"""Of grey values; of a candidate. Planted copies had at least 0.79."""

_MOST_SHIFT = 12
"""Pixels of a thumbnail between the centres of both pictures."""
_SHIFTS = tuple(range(-16, 17))  # of the corner, which a scale moves by up to 4 pixels more
_PADDED = 90  # at least the larger scale and a shift: nothing wraps around
_SCALES = (
    *((s, s) for s in (1.0, 0.95, 1 / 0.95, 0.9, 1 / 0.9)),
    *((1.0, 0.9), (0.9, 1.0), (1.0, 1 / 0.9), (1 / 0.9, 1.0)),
)
"""Height and width of the test picture relative to the training picture; the last four are cuts stretched back."""
_EXCHANGED = tuple(_SCALES.index((width, height)) for height, width in _SCALES)
_PART = 4096  # training pictures compared at once
_FLOOR = 1.0  # grey values: weaker texture is rounding and compression


@dataclass(frozen=True, kw_only=True)
class Match:
    """A test picture that is a copy of a training picture, or of most of it."""

    test: int
    train: int
    score: float
    """Agreement of texture where they overlap, 1 at most."""
    symmetry: str
    """One of `SYMMETRIES`."""


class NearDuplicates:
    """Finds test pictures among training pictures.

    Args:
        train: thumbnails, each (SIDE, SIDE), see `rsmoe.data.overlap.fingerprint`.
        threshold: least score of a match, above 0.
    """

    def __init__(self, train: Sequence[np.ndarray], *, threshold: float = THRESHOLD) -> None:
        require_threshold(threshold)
        self.threshold = threshold
        margin = (1 - MIDDLE) / 2
        self._textures: list[Tensor] = []  # (SIDE, SIDE) float16
        self._middles: list[Tensor] = []  # (GRID * GRID, n) float32, in parts that fit a cache
        for start in range(0, len(train), _PART):
            part = torch.from_numpy(np.stack(train[start : start + _PART])).float()
            self._textures += _texture(part).half()
            self._middles.append(_unit(_window(part, margin, margin, MIDDLE).flatten(1)).T)

    def find(
        self, test: Sequence[np.ndarray], *, track: Callable[[Iterable[int]], Iterable[int]] = iter
    ) -> list[Match]:
        """Matches of every test picture, at most `CANDIDATES` each, the best first.

        Args:
            test: thumbnails, each (SIDE, SIDE).
            track: wraps the loop over blocks of pictures, for a progress bar.
        """
        matches: list[Match] = []
        if not self._textures:
            return matches
        block = 32  # 8 symmetries x 27 windows each: 7,000 rows against 4,096 columns
        for start in track(range(0, len(test), block)):
            thumbnails = torch.from_numpy(np.stack(test[start : start + block])).float()
            textures = [_texture(_resize(thumbnails, height, width)) for height, width in _sizes()]
            for offset, rows in enumerate(self._candidates(thumbnails)):
                found: dict[int, Match] = {}
                scores = self._verify([texture[offset] for texture in textures], rows)
                for (symmetry, train), score in zip(rows, scores, strict=True):
                    if score >= self.threshold and (train not in found or score > found[train].score):
                        name = SYMMETRIES[symmetry]
                        found[train] = Match(test=start + offset, train=train, score=score, symmetry=name)
                matches += sorted(found.values(), key=lambda m: (-m.score, m.train))
        return matches

    def _candidates(self, thumbnails: Tensor) -> list[list[tuple[int, int]]]:
        """(symmetry, training picture) of the best for each of (n, SIDE, SIDE)."""
        windows = torch.stack([_window(thumbnails, y, x, size) for y, x, size in _windows()], 1)  # (n, w, GRID, GRID)
        turned = torch.stack([_turn(windows, s) for s in range(len(SYMMETRIES))], 1)  # (n, 8, w, GRID, GRID)
        rows = _unit(turned.flatten(-2))
        best, where, seen = torch.empty(len(rows), 0), torch.empty(len(rows), 0, dtype=torch.long), 0
        for middles in self._middles:
            near = (rows.flatten(0, 2) @ middles).unflatten(0, rows.shape[:3]).amax(2)  # (n, 8, columns)
            index = torch.arange(len(SYMMETRIES))[:, None] * len(self._textures) + seen + torch.arange(middles.shape[1])
            top = near.flatten(1).topk(min(CANDIDATES, near[0].numel()))
            best, where = torch.cat([best, top.values], 1), torch.cat([where, index.flatten()[top.indices]], 1)
            seen += middles.shape[1]
        top = best.topk(min(CANDIDATES, best.shape[1]))
        return [
            [divmod(k, len(self._textures)) for k, c in zip(ks, cs, strict=True) if c >= LEAST_CORRELATION]
            for ks, cs in zip(where.gather(1, top.indices).tolist(), top.values.tolist(), strict=True)
        ]

    def _verify(self, textures: Sequence[Tensor], rows: Sequence[tuple[int, int]]) -> list[float]:
        """Agreement of texture with each candidate, at the best of the scales and shifts.

        Args:
            textures: of one test picture, at each of `_SCALES`.
            rows: (symmetry, training picture) of the candidates.
        """
        if not rows:
            return []
        theirs = torch.stack([self._textures[train] for _, train in rows]).float()  # (k, SIDE, SIDE)
        needed = {symmetry: place for place, symmetry in enumerate(dict.fromkeys(s for s, _ in rows))}
        # a transposed picture has its height and width exchanged: it takes the place of the exchanged scale
        ours = [[_turn(textures[_EXCHANGED[i] if s >= 4 else i], s) for i in range(len(_SCALES))] for s in needed]
        padded = torch.stack([torch.stack([_pad(texture) for texture in scales]) for scales in ours])
        spectra = torch.fft.rfft2(padded).conj()[[needed[s] for s, _ in rows]]  # (k, scales, P, P // 2 + 1)
        product = torch.fft.irfft2(torch.fft.rfft2(_pad(theirs))[:, None] * spectra, s=(_PADDED, _PADDED))
        near = product[:, :, _SHIFTS][..., _SHIFTS]  # (k, scales, shifts down, shifts right)
        peaks = (near / _overlaps()).flatten(1).argmax(1).tolist()
        scores = []
        for (symmetry, _), texture, peak in zip(rows, theirs, peaks, strict=True):
            scale, down, right = (int(i) for i in np.unravel_index(peak, near.shape[1:]))
            a, b = _overlap(texture, ours[needed[symmetry]][scale], _SHIFTS[down], _SHIFTS[right])
            score = float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-6))
            scores.append(min(score, _agreement(a, b)) if score >= self.threshold else score)
        return scores


def _agreement(a: Tensor, b: Tensor) -> float:
    """Coherence of two textures in the third-worst of eight directions of their spectra, -1 to 1.

    Third-worst, because compression may leave nothing of the weakest directions of a true copy.
    """
    rows, columns = (torch.hann_window(size + 2, periodic=False)[1:-1] for size in a.shape)  # the frame has no say
    window = rows[:, None] * columns
    one, two = (torch.fft.rfft2((x - x.mean()) * window, s=(SIDE, SIDE)).flatten() for x in (a, b))
    sectors = _sectors()
    power = (sectors @ one.abs() ** 2) * (sectors @ two.abs() ** 2)
    coherence = (sectors @ (one * two.conj()).real) / power.sqrt().clamp_min(1e-6)
    return float(coherence.sort().values[2])


@lru_cache
def _sectors() -> Tensor:
    """(8, frequencies) 1 where a frequency of 2 to 14 cycles a picture lies in the direction."""
    down, right = torch.fft.fftfreq(SIDE, 1 / SIDE)[:, None], torch.fft.rfftfreq(SIDE, 1 / SIDE)
    radius, direction = torch.hypot(down, right), torch.atan2(down, right)  # direction: -90 to 90 degrees
    sector = ((direction / torch.pi + 0.5) * 8).round().long() % 8
    inside = (radius >= 2) & (radius <= 14)
    return torch.stack([(inside & (sector == i)).flatten().float() for i in range(8)])


def require_threshold(threshold: float) -> None:
    """Refuses a threshold that is no correlation above 0."""
    if not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise UserError(f"threshold={threshold} is an agreement: give one above 0 and up to 1, like {THRESHOLD}")


def turned(pixels: np.ndarray, symmetry: str) -> np.ndarray:
    """A test picture (H, W, C) as it lies on the training picture of its `Match`."""
    number = SYMMETRIES.index(symmetry)
    pixels = pixels.swapaxes(0, 1) if number >= 4 else pixels
    return pixels[:: -1 if number & 2 else 1, :: -1 if number & 1 else 1]


def _overlap(a: Tensor, b: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """The parts of ``a`` and ``b`` that lie on each other when ``b`` is moved down and right."""
    height, width = min(a.shape[0], b.shape[0] + down), min(a.shape[1], b.shape[1] + right)
    top, left = max(0, down), max(0, right)
    return a[top:height, left:width], b[top - down : height - down, left - right : width - right]


def _turn(pictures: Tensor, symmetry: int) -> Tensor:
    """(..., S, S) in the symmetry of this number."""
    if symmetry >= 4:
        pictures = pictures.transpose(-1, -2)
    flips = [axis for axis, bit in ((-1, 1), (-2, 2)) if symmetry & bit]
    return pictures.flip(flips) if flips else pictures


def _unit(rows: Tensor) -> Tensor:
    """Rows of mean 0 and length 1; a row without contrast becomes 0 and is like nothing."""
    rows = rows - rows.mean(-1, keepdim=True)
    length = rows.norm(dim=-1, keepdim=True)
    return torch.where(length > 0.5, rows / length.clamp_min(1e-6), 0.0)


def _window(pictures: Tensor, top: float, left: float, size: float) -> Tensor:
    """(n, SIDE, SIDE) -> (n, GRID, GRID): means of the cells of a window given in parts of the side."""
    return _cells(top, size) @ pictures @ _cells(left, size).T


@lru_cache
def _cells(start: float, size: float) -> Tensor:
    edges = (start + size * torch.arange(GRID + 1) / GRID) * SIDE
    pixels = torch.arange(SIDE)
    covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    covered = covered.clamp_min(0)
    return covered / covered.sum(1, keepdim=True)


@lru_cache
def _windows() -> list[tuple[float, float, float]]:
    """Top, left and size: where the middle of a training picture lies in a test picture that was shifted by 10 %, that
    is a tenth smaller, or a tenth larger."""
    sizes = {MIDDLE: 0.1, MIDDLE / 0.9: 0.055, MIDDLE * 0.9: 0.05}
    return [
        ((1 - size) / 2 + down, (1 - size) / 2 + right, size)
        for size, step in sizes.items()
        for down in (-step, 0.0, step)
        for right in (-step, 0.0, step)
    ]


@lru_cache
def _sizes() -> list[tuple[int, int]]:
    return [(round(SIDE * height), round(SIDE * width)) for height, width in _SCALES]


def _resize(pictures: Tensor, height: int, width: int) -> Tensor:
    """(n, SIDE, SIDE) -> (n, height, width)."""
    if (height, width) == (SIDE, SIDE):
        return pictures
    return functional.interpolate(pictures[None], (height, width), mode="bicubic", antialias=True)[0]


def _texture(pictures: Tensor) -> Tensor:
    """(..., h, w): the band between blurs of 1 and 3 pixels, over its strength around each pixel."""
    band = _blur(pictures, 1.0) - _blur(pictures, 3.0)
    return band / (_blur(band * band, 4.0) + _FLOOR**2).sqrt()


def _blur(pictures: Tensor, sigma: float) -> Tensor:
    return _gauss(pictures.shape[-2], sigma) @ pictures @ _gauss(pictures.shape[-1], sigma).T


@lru_cache
def _gauss(size: int, sigma: float) -> Tensor:
    distance = torch.arange(size)[:, None] - torch.arange(size)
    # cut off: the denormal numbers of a long tail make the products thirty times slower
    weights = torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= 4 * sigma)
    return weights / weights.sum(1, keepdim=True)


def _pad(pictures: Tensor) -> Tensor:
    return functional.pad(pictures, (0, _PADDED - pictures.shape[-1], 0, _PADDED - pictures.shape[-2]))


@lru_cache
def _overlaps() -> Tensor:
    """(scales, shifts, shifts) overlapping pixels; infinite where the centres lie too far from each other."""
    shifts = torch.tensor(_SHIFTS)

    def along(size: int) -> Tensor:
        length = (shifts + size).clamp_max(SIDE) - shifts.clamp_min(0)
        return torch.where((shifts + (size - SIDE) / 2).abs() <= _MOST_SHIFT, length.float(), math.inf)

    return torch.stack([along(height)[:, None] * along(width)[None] for height, width in _sizes()])
