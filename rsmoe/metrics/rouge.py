"""ROUGE-L of captions, equal to pycocoevalcap 1.2."""

from __future__ import annotations

from collections.abc import Sequence

_BETA_SQUARED = 1.2**2
"""Recall counts 1.44 times as much as precision."""


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, one integer operation a token (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004)."""
    places: dict[str, int] = {}
    for i, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << i
    full = (1 << len(first)) - 1
    row = full  # a zero bit is a step of the subsequence
    for token in second:
        match = row & places.get(token, 0)
        row = (row + match | row - match) & full
    return len(first) - row.bit_count()


def rouge_l(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """F-measure (beta 1.2) of the longest common subsequence, on the scale 0 to 1; the corpus score is the mean.

    As in coco-caption, precision and recall are the best over the references *each for itself*, so they may come from
    two references. Lin, "ROUGE: a package for automatic evaluation of summaries", ACL 2004. An empty hypothesis gets 0.
    """
    if not hypothesis:
        return 0.0
    common = [(longest_common_subsequence(hypothesis, r), len(r)) for r in references]
    precision = max(lcs for lcs, _ in common) / len(hypothesis)
    recall = max(lcs / max(length, 1) for lcs, length in common)
    if not precision or not recall:
        return 0.0
    return (1 + _BETA_SQUARED) * precision * recall / (recall + _BETA_SQUARED * precision)
