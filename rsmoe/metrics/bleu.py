"""BLEU-1 to BLEU-4 over a corpus, equal to pycocoevalcap 1.2 (closest reference length)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

_TINY, _SMALL = 1e-15, 1e-9
"""pycocoevalcap adds them to every numerator and denominator, so a missing order gives 1e-6 instead of 0."""


def ngram_counts(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram occurs."""
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def bleu_counts(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """Sufficient statistics of one sample; BLEU of any set of samples follows from their sum.

    Returns:
        (10,) int64: matches of order 1 to 4 (clipped by the reference with most), n-grams of order 1 to 4, length, and
        length of the reference that is closest to it (the shorter one of two).
    """
    matches = []
    for n in range(1, 5):
        best: dict[tuple[str, ...], int] = dict.fromkeys(mine := ngram_counts(hypothesis, n), 0)
        for reference in references:
            theirs = ngram_counts(reference, n)
            for gram in best:
                best[gram] = max(best[gram], theirs[gram])
        matches.append(sum(min(count, best[gram]) for gram, count in mine.items()))
    length = len(hypothesis)
    grams = [max(0, length - n) for n in range(4)]
    closest = min((abs(len(r) - length), len(r)) for r in references)[1]
    return np.array([*matches, *grams, length, closest], dtype=np.int64)


def bleu(counts: np.ndarray) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4 on the scale 0 to 1.

    Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002; smoothing constants of
    https://github.com/salaniz/pycocoevalcap.

    Args:
        counts: (10,) sum of `bleu_counts` over the corpus.
    """
    length, reference = float(counts[8]), float(counts[9])
    ratio = (length + _TINY) / (reference + _SMALL)
    brevity = math.exp(1.0 - 1.0 / ratio) if ratio < 1.0 else 1.0
    product, scores = 1.0, []
    for n in range(4):
        product *= (float(counts[n]) + _TINY) / (float(counts[4 + n]) + _SMALL)
        scores.append(brevity * product ** (1.0 / (n + 1)))
    return scores[0], scores[1], scores[2], scores[3]
