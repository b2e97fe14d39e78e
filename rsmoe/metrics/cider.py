"""CIDEr-D, equal to pycocoevalcap 1.2 (which calls it "CIDEr")."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsmoe.metrics.corpus import Corpus
from rsmoe.metrics.ngrams import ORDERS
from rsmoe.metrics.sentence import Gram, Sentence

_SIGMA = 6.0


def cider_d(corpus: Corpus) -> np.ndarray:
    """CIDEr-D of each caption, (n,), on the scale 0 to 10; the corpus score is the mean.

    Document frequencies come from the references of the scored split, so a score has no meaning outside its corpus: an
    n-gram that is in the references of every image weighs nothing. Where all images share their references (the
    unchanged pairs of change captioning) or there is only one image, every score is 0.

    Vedantam et al., "CIDEr: Consensus-based image description evaluation", CVPR 2015, section 6 (CIDEr-D), without
    stemming; https://github.com/salaniz/pycocoevalcap.
    """
    table = corpus.grams
    weight = table.count * _idf(corpus)[table.gram]
    cells = table.sentence * ORDERS + table.order[table.gram]
    squares = np.bincount(cells, weights=weight**2, minlength=len(table.length) * ORDERS)
    norm = np.sqrt(squares).reshape(-1, ORDERS)

    pair, mine, theirs = corpus.shared
    clipped = np.minimum(weight[mine], weight[theirs]) * weight[theirs]  # clipped: repetition gains nothing
    cells = pair * ORDERS + table.order[table.gram[mine]]
    product = np.bincount(cells, weights=clipped, minlength=len(corpus.pairs) * ORDERS).reshape(-1, ORDERS)

    caption, reference = corpus.pairs.T
    first, second = corpus.hypotheses[caption], corpus.references[reference]
    scale = norm[first] * norm[second]
    cosine = (product / np.where(scale > 0, scale, 1.0)).sum(axis=1)
    # pycocoevalcap measures length in bigrams, so empty and one-word sentences are equally long
    length = np.maximum(table.length - 1, 0)
    return corpus.mean(10 / ORDERS * cosine * np.exp(-((length[first] - length[second]) ** 2) / (2 * _SIGMA**2)))


def _idf(corpus: Corpus) -> np.ndarray:
    """(G,) logarithm of the share of images with the n-gram in a reference, negated; one in none counts as in one."""
    table, size = corpus.grams, len(corpus.grams.order)
    rows, owner = table.rows(corpus.references)
    seen = np.unique(corpus.image[owner] * size + table.gram[rows])
    frequency = np.bincount(seen % max(size, 1), minlength=size)
    return np.log(corpus.image[-1] + 1) - np.log(np.maximum(frequency, 1))


@dataclass(frozen=True, kw_only=True)
class _Vector:
    """tf-idf of the n-grams of one sentence, with their norm per order."""

    weights: dict[Gram, float]
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
        references: of each image, at least one each.
    """

    def __init__(self, references: Sequence[Sequence[Sentence]]) -> None:
        frequency: Counter[Gram] = Counter()
        for sentences in references:
            frequency.update(set().union(*(s.grams for s in sentences)))
        self._unseen = math.log(max(1, len(references)))
        self._idf = {gram: self._unseen - math.log(df) for gram, df in frequency.items()}
        self._references = [[self._vector(s) for s in sentences] for sentences in references]

    def _vector(self, sentence: Sentence) -> _Vector:
        weights = {gram: tf * self._idf.get(gram, self._unseen) for gram, tf in sentence.grams.items()}
        squares = [0.0] * ORDERS
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
        # pycocoevalcap measures length in bigrams, so empty and one-word sentences are equally long
        length = max(0, len(sentence.tokens) - 1)
        return _Vector(weights=weights, norms=tuple(map(math.sqrt, squares)), length=length)

    def score(self, hypothesis: Sentence, image: int) -> float:
        """CIDEr-D of one sentence against the references of image number ``image``, on the scale 0 to 10."""
        mine = self._vector(hypothesis)
        total = 0.0
        for theirs in self._references[image]:
            products = [0.0] * ORDERS
            for gram, weight in mine.weights.items():
                other = theirs.weights.get(gram)
                if other is not None:
                    products[len(gram) - 1] += min(weight, other) * other  # clipped: repetition gains nothing
            cosines = (p / (a * b) for p, a, b in zip(products, mine.norms, theirs.norms, strict=True) if p)
            total += sum(cosines) * math.exp(-((mine.length - theirs.length) ** 2) / (2 * _SIGMA**2))
        return 10.0 * total / (ORDERS * len(self._references[image]))
