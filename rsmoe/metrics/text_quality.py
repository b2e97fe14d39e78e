"""How texts are written, whatever they say: length, vocabulary, repetition, and objects that are not there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.ngrams import ORDERS, NGrams
from rsmoe.metrics.object_words import OBJECTS, ObjectWords
from rsmoe.metrics.rows import RowMetric
from rsmoe.metrics.tally import ratio
from rsmoe.metrics.tokenize import whitespace


class TextQuality(RowMetric):
    """Length, diversity, repetition and hallucinated objects of texts, over any number of updates and ranks.

    Tokens are those of `rsmoe.metrics.tokenize.whitespace`. `compute` gives

    - ``length``: mean tokens of a text; ``vocabulary``: different tokens in all texts;
    - ``distinct1`` to ``distinct4``: different n-grams over all n-grams of all texts (Li et al., "A diversity-promoting
      objective function for neural conversation models", NAACL 2016; falls as a corpus grows: compare equal sizes);
      ``distinct_texts``: different texts over texts, 1 / n where a model says one sentence always;
    - ``repetition``: mean over texts of 1 - different 4-grams / 4-grams (seq-rep-4 of Welleck et al., "Neural text
      generation with unlikelihood training", ICLR 2020); a text of fewer than four tokens repeats nothing;
    - where the objects of some images are known, for those (Rohrbach et al., "Object hallucination in image
      captioning", EMNLP 2018): ``chair_i``: mentions of classes that are not in the image over all mentions;
      ``chair_s``: share of texts with such a mention; ``object_recall``: classes of the image that the text names, over
      all classes of all images; ``n/objects``: how many texts. CHAIR falls when a model names nothing: read it with the
      recall.

    All but length and vocabulary are 0 to 1. An empty text has length 0, repeats nothing, names nothing, and counts in
    ``parse_failures``.

    Args:
        objects: class -> its names, in the singular; `OBJECTS` by default.
        kwargs: of ``torchmetrics.Metric``.
    """

    def __init__(self, *, objects: Mapping[str, Sequence[str]] = OBJECTS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._names = frozenset(objects)
        self._objects = ObjectWords(objects)

    def update(self, predictions: Sequence[str], present: Sequence[Collection[str] | None] | None = None) -> None:
        """Adds texts, and for each the classes in its image; None where they are not known.

        Raises:
            ValueError: a class that `objects` does not have: it could never be found.
        """
        given = [None] * len(predictions) if present is None else present
        if unknown := {name for names in given if names is not None for name in names} - self._names:
            raise ValueError(f"classes {sorted(unknown)} have no names; known: {sorted(self._names)}")
        pairs = zip(predictions, given, strict=True)
        self.append([text, None if names is None else sorted(set(names))] for text, names in pairs)

    def compute(self) -> dict[str, float]:
        """The numbers above; raises ValueError before the first update."""
        rows = self.rows()
        return text_quality([text for text, _ in rows], [names for _, names in rows], objects=self._objects)


def text_quality(
    texts: Sequence[str], present: Sequence[Collection[str] | None], *, objects: ObjectWords
) -> dict[str, float]:
    """Every number of `TextQuality`, of n texts and the classes in their images; raises ValueError without a text."""
    if not texts:
        raise ValueError("no text was added before compute()")
    grams = NGrams.of([whitespace(text) for text in texts])
    order = grams.order[grams.gram]
    different = np.bincount(grams.order, minlength=ORDERS)
    written = np.bincount(order, weights=grams.count, minlength=ORDERS)
    numbers = {"vocabulary": float(different[0]), "distinct_texts": len(set(texts)) / len(texts)}
    for n, share in enumerate(ratio(different, written, empty=0.0).tolist(), start=1):
        numbers[f"distinct{n}"] = share
    longest = order == ORDERS - 1
    kinds = np.bincount(grams.sentence[longest], minlength=len(texts))
    total = np.bincount(grams.sentence[longest], weights=grams.count[longest], minlength=len(texts))
    repeated = np.where(total > 0, 1 - ratio(kinds, total, empty=1.0), 0.0)
    return {
        "length": float(grams.length.mean()),
        **numbers,
        "repetition": float(repeated.mean()),
        **_hallucination(texts, present, objects),
        "n": float(len(texts)),
        "parse_failures": float((grams.length == 0).sum()),
    }


def _hallucination(
    texts: Sequence[str], present: Sequence[Collection[str] | None], objects: ObjectWords
) -> dict[str, float]:
    mentions = wrong = wrong_texts = named = there = n = 0
    for text, names in zip(texts, present, strict=True):
        if names is None:
            continue
        found = objects(text)
        absent = sum(name not in names for name in found)
        n, mentions, wrong, wrong_texts = n + 1, mentions + len(found), wrong + absent, wrong_texts + (absent > 0)
        named, there = named + len(set(found) & set(names)), there + len(set(names))
    if not n:
        return {}
    shares = {"chair_i": wrong / max(mentions, 1), "chair_s": wrong_texts / n, "object_recall": named / max(there, 1)}
    return {**shares, "n/objects": float(n)}
