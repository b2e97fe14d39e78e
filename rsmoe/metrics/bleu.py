"""BLEU-1 to BLEU-4 over a corpus, equal to pycocoevalcap 1.2 (closest reference length)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rsmoe.metrics.sentence import ORDERS, Sentence

_TINY, _SMALL = 1e-15, 1e-9
"""pycocoevalcap adds them to every numerator and denominator, so a missing order gives 1e-6 instead of 0."""


def bleu_counts(hypothesis: Sentence, references: Sequence[Sentence]) -> np.ndarray:
    """Sufficient statistics of one sample; BLEU of any set of samples follows from their sum.

    Returns:
        (10,) int64: matches of order 1 to 4 (clipped by the reference with most), n-grams of order 1 to 4, length, and
        length of the reference that is closest to it (the shorter one of two).
    """
    matches = [0] * ORDERS
    for gram, count in hypothesis.grams.items():
        matches[len(gram) - 1] += min(count, max(r.grams.get(gram, 0) for r in references))
    length = len(hypothesis.tokens)
    grams = [max(0, length - n) for n in range(ORDERS)]
    closest = min((abs(len(r.tokens) - length), len(r.tokens)) for r in references)[1]
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
    for n in range(ORDERS):
        product *= (float(counts[n]) + _TINY) / (float(counts[ORDERS + n]) + _SMALL)
        scores.append(brevity * product ** (1.0 / (n + 1)))
    return scores[0], scores[1], scores[2], scores[3]
