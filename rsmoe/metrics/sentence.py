"""A tokenised sentence with its n-grams, counted once for every scorer that needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rsmoe.metrics.ngrams import ORDERS

Gram = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Tokens of a caption, and how often each of its n-grams of order 1 to 4 occurs."""

    tokens: tuple[str, ...]
    grams: Counter[Gram]

    @classmethod
    def of(cls, tokens: Sequence[str]) -> Sentence:
        """Counts the n-grams of ``tokens``."""
        grams: Counter[Gram] = Counter()
        for n in range(1, ORDERS + 1):
            grams.update(zip(*(tokens[i:] for i in range(n)), strict=False))
        return cls(tokens=tuple(tokens), grams=grams)
