"""BLEU-1 to BLEU-4 over a corpus, equal to pycocoevalcap 1.2 (closest reference length)."""

from __future__ import annotations

import numpy as np

from rsmoe.metrics.captions.ngram_counts import ORDERS
from rsmoe.metrics.captions.tokenized import Corpus

_TINY, _SMALL = 1e-15, 1e-9
"""pycocoevalcap adds them to every numerator and denominator, so a missing order gives 1e-6 instead of 0."""


def bleu_counts(corpus: Corpus) -> np.ndarray:
    """Sufficient statistics of every caption; BLEU of any set of captions follows from their sum.

    Returns:
        (n, 10) int64: matches of order 1 to 4 (clipped by the reference with most), n-grams of order 1 to 4, length,
        and length of the reference that is closest to it (the shorter one of two).
    """
    table, n = corpus.grams, len(corpus.hypotheses)
    pair, mine, theirs = corpus.shared
    caption = corpus.pairs[pair, 0]
    # the same row of counts may stand for several captions with the same text, hence caption and row
    keys, place = np.unique(caption * len(table.gram) + mine, return_inverse=True)
    most = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(most, place, table.count[theirs])
    owner, row = np.divmod(keys, max(len(table.gram), 1))
    cell = owner * ORDERS + table.order[table.gram[row]]
    matches = np.bincount(cell, weights=np.minimum(most, table.count[row]), minlength=n * ORDERS)
    length = table.length[corpus.hypotheses]
    available = np.maximum(length[:, None] - np.arange(ORDERS), 0)
    return np.column_stack([matches.reshape(n, ORDERS).astype(np.int64), available, length, _closest(corpus)])


def _closest(corpus: Corpus) -> np.ndarray:
    """(n,) length of the reference whose length is nearest to the caption's, the shorter one of two."""
    length = corpus.grams.length
    caption, theirs = corpus.pairs[:, 0], length[corpus.references[corpus.pairs[:, 1]]]
    distance = np.abs(theirs - length[corpus.hypotheses[caption]])
    order = np.lexsort((theirs, distance, caption))
    return theirs[order][np.unique(caption, return_index=True)[1]]


def bleu(counts: np.ndarray) -> np.ndarray:
    """BLEU-1 to BLEU-4 (..., 4) on the scale 0 to 1.

    Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002; smoothing constants of
    https://github.com/salaniz/pycocoevalcap.

    Args:
        counts: (..., 10) sums of `bleu_counts` over a corpus.
    """
    counts = np.asarray(counts, dtype=np.float64)
    ratio = (counts[..., 8] + _TINY) / (counts[..., 9] + _SMALL)
    with np.errstate(over="ignore"):  # an empty corpus: exp(-1e6) and below is 0, as it should be
        brevity = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    precision = (counts[..., :ORDERS] + _TINY) / (counts[..., ORDERS : 2 * ORDERS] + _SMALL)
    return brevity[..., None] * np.cumprod(precision, axis=-1) ** (1 / np.arange(1, ORDERS + 1))
