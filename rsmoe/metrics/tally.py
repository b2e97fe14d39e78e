"""What every sample adds to a number: the one form that scores and the bootstrap share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Finish = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Sums (..., k) of rows -> each number (...,); nan where a sum leaves it undefined."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Rows of n samples, and the numbers that follow from the sum of any of them.

    Every metric of the library is a function of such sums (BLEU of counts of n-grams, an accuracy of right answers,
    P@0.5 of hits), so one resampling of rows gives the interval of each, without scoring a text twice. What depends on
    the corpus and not on the sample (the idf of CIDEr-D, the gallery of a retrieval) is fixed when rows are made.
    """

    rows: np.ndarray
    """(n, k) float64."""
    finish: Finish
    """Also gives "n" and "parse_failures", and "n/<part>", "parse_failures/<part>" where a part has its own."""

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise ValueError("no sample was scored")

    def values(self) -> dict[str, float]:
        """Every number on all samples."""
        return {name: float(value) for name, value in self.finish(self.rows.sum(axis=0)).items()}

    def part(self, name: str, places: Sequence[int], n: int) -> Tally:
        """The same numbers as "<number>/<name>", for samples that stand at ``places`` among n; the others add zero."""
        rows = np.zeros((n, self.rows.shape[1]))
        rows[list(places)] = self.rows
        return Tally(rows=rows, finish=lambda sums: {f"{key}/{name}": v for key, v in self.finish(sums).items()})


def beside(*tallies: Tally) -> Tally:
    """All numbers of tallies of the same n samples; of two of one name the later one stays."""
    edges = np.cumsum([0, *(tally.rows.shape[1] for tally in tallies)])

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        numbers: dict[str, np.ndarray] = {}
        for tally, start, end in zip(tallies, edges[:-1], edges[1:], strict=True):
            numbers |= tally.finish(sums[..., start:end])
        return numbers

    return Tally(rows=np.concatenate([tally.rows for tally in tallies], axis=1), finish=finish)


def whole(numbers: Mapping[str, float], *, n: int) -> Tally:
    """Numbers that follow from no sum over the n samples: nan for any resampled sums, so that they get no interval."""

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        size = sums[..., 0]
        return {k: np.full(size.shape, v if sums.ndim == 1 else np.nan) for k, v in numbers.items()} | {"n": size}

    return Tally(rows=np.ones((n, 1)), finish=finish)


def ratio(part: np.ndarray, whole: np.ndarray, *, empty: float | np.ndarray = np.nan) -> np.ndarray:
    """part / whole, and ``empty`` where the whole is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.where(whole == 0, empty, part / np.where(whole == 0, 1.0, whole))


def overlap(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> dict[str, np.ndarray]:
    """precision, recall and f1 from true positives, false positives and false negatives.

    Where there was nothing to find and nothing was said, each is 1; where only one of the two, an undefined one is 0.
    """
    silent, nothing = (fn == 0).astype(np.float64), (fp == 0).astype(np.float64)
    return {
        "precision": ratio(tp, tp + fp, empty=silent),
        "recall": ratio(tp, tp + fn, empty=nothing),
        "f1": ratio(2 * tp, 2 * tp + fp + fn, empty=1.0),
    }
