"""CIDEr-D, equal to pycocoevalcap 1.2 (which calls it "CIDEr")."""

from __future__ import annotations

import numpy as np

from rsmoe.metrics.captions.ngram_counts import ORDERS
from rsmoe.metrics.captions.tokenized import Corpus

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
