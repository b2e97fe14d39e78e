"""The n-grams of many sentences, counted once for every scorer that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ORDERS = 4
"""BLEU and CIDEr-D both read n-grams of 1 to 4 tokens."""


@dataclass(frozen=True, kw_only=True)
class NGrams:
    """How often each n-gram of order 1 to 4 occurs in each of S sentences.

    P rows, sorted by sentence, then n-gram; an n-gram is a number below G, the same in all sentences.
    """

    sentence: np.ndarray
    """(P,) int64, below S."""
    gram: np.ndarray
    """(P,) int64, below G."""
    count: np.ndarray
    """(P,) int64, at least 1."""
    first: np.ndarray
    """(S + 1,) int64: the rows of sentence s are ``first[s]`` to ``first[s + 1] - 1``."""
    order: np.ndarray
    """(G,) int64: 0 for single tokens to 3 for four of them."""
    length: np.ndarray
    """(S,) int64: tokens."""

    @classmethod
    def of(cls, sentences: Sequence[Sequence[str]]) -> NGrams:
        """Counts the n-grams of S tokenised sentences."""
        length = np.array([len(s) for s in sentences], dtype=np.int64)
        vocabulary: dict[str, int] = {}
        tokens = np.array([vocabulary.setdefault(t, len(vocabulary)) for s in sentences for t in s], dtype=np.int64)
        owner, end = np.repeat(np.arange(len(length)), length), np.repeat(np.cumsum(length), length)
        start, code = np.arange(len(tokens)), tokens
        owners, grams, order, size = [], [], [], 0
        for n in range(ORDERS):
            inside = start + n < end[start]
            start, code = start[inside], code[inside]
            if n > 0:  # an n-gram is its first n - 1 tokens, already a number, and its last
                code = code * len(vocabulary) + tokens[start + n]
            distinct, code = np.unique(code, return_inverse=True)
            owners.append(owner[start])
            grams.append(code + size)
            order.append(np.full(len(distinct), n))
            size += len(distinct)
        keys, count = np.unique(np.concatenate(owners) * max(size, 1) + np.concatenate(grams), return_counts=True)
        sentence, gram = np.divmod(keys, max(size, 1))
        first = np.searchsorted(sentence, np.arange(len(length) + 1))
        return cls(sentence=sentence, gram=gram, count=count, first=first, order=np.concatenate(order), length=length)

    def rows(self, sentences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of K sentences (K,), one sentence after another, and for each row which of the K it is of."""
        start = self.first[sentences]
        place, owner = runs(self.first[sentences + 1] - start)
        return start[owner] + place, owner


def runs(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers K runs of the given sizes (K,): the place within its run, and the run, of each of ``sizes.sum()``."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return np.arange(len(owner)) - (np.cumsum(sizes) - sizes)[owner], owner
