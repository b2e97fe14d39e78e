"""CIDEr-D, equal to pycocoevalcap 1.2 (which calls it "CIDEr")."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rsmoe.metrics.bleu import ngram_counts

_SIGMA = 6.0
_ORDERS = 4

Gram = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Vector:
    """tf-idf of the n-grams of one sentence, per order, with their norms."""

    weights: tuple[dict[Gram, float], ...]
    norms: tuple[float, ...]
    length: int


class CiderD:
    """Scores sentences against the references of a corpus.

    Document frequencies come from the references of the scored split, so a score has no meaning outside its corpus: an
    n-gram that is in the references of every image weighs nothing. Where all images share their references (the
    unchanged pairs of change captioning) or there is only one image, every score is 0.

    Vedantam et al., "CIDEr: Consensus-based image description evaluation", CVPR 2015, section 6 (CIDEr-D), without
    stemming; https://github.com/salaniz/pycocoevalcap.

    Args:
        references: tokens of the references of each image, at least one each.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        counts = [[_count(tokens) for tokens in sentences] for sentences in references]
        frequency: Counter[Gram] = Counter()
        for sentences in counts:
            frequency.update({gram for orders in sentences for order in orders for gram in order})
        log_n = math.log(max(1, len(references)))
        self._unseen = log_n
        self._idf = {gram: log_n - math.log(df) for gram, df in frequency.items()}
        self._references = [
            [self._vector(orders, len(tokens)) for orders, tokens in zip(sentences, texts, strict=True)]
            for sentences, texts in zip(counts, references, strict=True)
        ]

    def _vector(self, orders: Sequence[Counter[Gram]], tokens: int) -> _Vector:
        weights = tuple({g: tf * self._idf.get(g, self._unseen) for g, tf in order.items()} for order in orders)
        norms = tuple(math.sqrt(sum(w * w for w in order.values())) for order in weights)
        # pycocoevalcap measures length in bigrams, so empty and one-word sentences are equally long
        return _Vector(weights=weights, norms=norms, length=max(0, tokens - 1))

    def score(self, hypothesis: Sequence[str], image: int) -> float:
        """CIDEr-D of one sentence against the references of image number ``image``, on the scale 0 to 10."""
        mine = self._vector(_count(hypothesis), len(hypothesis))
        total = 0.0
        for theirs in self._references[image]:
            similarity = 0.0
            for n in range(_ORDERS):
                scale = mine.norms[n] * theirs.norms[n]
                if scale:
                    other = theirs.weights[n]
                    shared = ((w, other[g]) for g, w in mine.weights[n].items() if g in other)
                    similarity += sum(min(w, v) * v for w, v in shared) / scale  # clipped: repetition gains nothing
            total += similarity * math.exp(-((mine.length - theirs.length) ** 2) / (2 * _SIGMA**2))
        return 10.0 * total / (_ORDERS * len(self._references[image]))


def cider_d(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> list[float]:
    """CIDEr-D of each image, on the scale 0 to 10; the corpus score is the mean."""
    corpus = CiderD(references)
    return [corpus.score(tokens, i) for i, tokens in enumerate(hypotheses)]


def _count(tokens: Sequence[str]) -> tuple[Counter[Gram], ...]:
    return tuple(ngram_counts(tokens, n) for n in range(1, _ORDERS + 1))
