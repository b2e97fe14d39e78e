"""ROUGE-L of captions, equal to pycocoevalcap 1.2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.metrics.captions.tokenized import Corpus

_BETA_SQUARED = 1.2**2
"""Recall counts 1.44 times as much as precision."""


def rouge_l(corpus: Corpus) -> np.ndarray:
    """F-measure (beta 1.2) of the longest common subsequence of each caption, (n,), 0 to 1; a corpus has the mean.

    As in coco-caption, precision and recall are the best over the references *each for itself*, so they may come from
    two references. Lin, "ROUGE: a package for automatic evaluation of summaries", ACL 2004. An empty caption gets 0.
    """
    captions, length = corpus.pairs[:, 0], corpus.grams.length
    theirs = corpus.references[corpus.pairs[:, 1]]
    common = np.array(_common(corpus, corpus.hypotheses[captions], theirs))
    begin = np.unique(captions, return_index=True)[1]
    precision = np.maximum.reduceat(common / np.maximum(length[corpus.hypotheses[captions]], 1), begin)
    recall = np.maximum.reduceat(common / np.maximum(length[theirs], 1), begin)
    some = np.where(recall > 0, recall + _BETA_SQUARED * precision, 1.0)
    return (1 + _BETA_SQUARED) * precision * recall / some


def _common(corpus: Corpus, mine: np.ndarray, theirs: np.ndarray) -> list[int]:
    """Length of the longest common subsequence of each pair of sentences; pairs of one caption stand together."""
    known: dict[tuple[int, int], int] = {}
    lengths, current, places = [], -1, {}
    for first, second in zip(mine.tolist(), theirs.tolist(), strict=True):
        if first != current:
            current, places = first, _places(corpus.sentences[first])
        if (found := known.get((first, second))) is None:
            found = known[first, second] = _length(places, len(corpus.sentences[first]), corpus.sentences[second])
        lengths.append(found)
    return lengths


def _places(tokens: Sequence[str]) -> dict[str, int]:
    """Token -> the bits of its places."""
    places: dict[str, int] = {}
    for i, token in enumerate(tokens):
        places[token] = places.get(token, 0) | 1 << i
    return places


def _length(places: dict[str, int], size: int, second: Sequence[str]) -> int:
    """One integer operation a token (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004)."""
    full = (1 << size) - 1
    row = full  # a zero bit is a step of the subsequence
    for token in second:
        if match := row & places.get(token, 0):
            row = (row + match | row - match) & full
    return size - row.bit_count()
