"""How texts are written, whatever they say: length, vocabulary, repetition, and objects that are not there."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from rsmoe.metrics.captions.ngram_counts import ORDERS, NGrams
from rsmoe.metrics.captions.object_words import OBJECTS, ObjectWords
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio


class TextQuality(Metric):
    """Length, diversity, repetition and hallucinated objects of texts.

    Tokens are those of `rsmoe.metrics.captions.tokenize.whitespace`.

    - ``length``: mean tokens of a text; ``vocabulary``: different tokens in all texts;
    - ``distinct1`` to ``distinct4``: different n-grams over all n-grams of all texts (Li et al., "A diversity-promoting
      objective function for neural conversation models", NAACL 2016; falls as a corpus grows: compare equal sizes);
      ``distinct_texts``: different texts over texts, 1 / n where a model says one sentence always;
    - ``repetition``: mean over texts of 1 - different 4-grams / 4-grams (seq-rep-4 of Welleck et al., "Neural text
      generation with unlikelihood training", ICLR 2020); a text of fewer than four tokens repeats nothing;
    - where every label of a sample is a class of `OBJECTS`, for those (Rohrbach et al., "Object hallucination in image
      captioning", EMNLP 2018): ``chair_i``: mentions of classes that are not in the image over all mentions;
      ``chair_s``: share of texts with such a mention; ``object_recall``: classes of the image that the text names, over
      all classes of all images; ``n/objects``: how many texts. CHAIR falls when a model names nothing: read it with the
      recall.

    All but length and vocabulary are 0 to 1. An empty text has length 0, repeats nothing, names nothing, and counts in
    ``parse_failures``.
    """

    protocol = Protocol(
        id="text/quality@1",
        title="Length, diversity and hallucinated objects of texts",
        tasks=("caption", "vqa", "change_vqa"),
        sentence="How texts are written: mean length and vocabulary in tokens; distinct n-grams, repetition of "
        "4-grams, and against known objects CHAIR and the recall of objects, as shares from 0 to 1.",
        source="Li et al., NAACL 2016; Welleck et al., ICLR 2020; Rohrbach et al., EMNLP 2018",
    )
    unscaled = frozenset(
        ("length", "vocabulary", "distinct1", "distinct2", "distinct3", "distinct4", "distinct_texts")
    ) | {"repetition", "chair_i", "chair_s", "object_recall"}
    lower_is_better = frozenset(("chair_i", "chair_s", "repetition"))

    def tally(self, pairs: Pairs) -> Tally:
        """One row a text."""
        known = [s.labels if s.labels and set(s.labels) <= set(OBJECTS) else None for s, _ in pairs]
        return text_quality_tally([p.text for _, p in pairs], known, objects=ObjectWords(OBJECTS))


def text_quality_tally(
    texts: Sequence[str], present: Sequence[Collection[str] | None], *, objects: ObjectWords
) -> Tally:
    """What each of n texts adds to the numbers of `TextQuality`.

    ``vocabulary`` and the ``distinct`` numbers belong to the whole and follow from no sum: of any other sums than one
    row of them they are nan, so that they get no interval (texts drawn twice would be less distinct by the drawing).

    Args:
        texts: n texts.
        present: the classes in the image of each, or None where they are not known.
        objects: finds classes in a text.

    Raises:
        ValueError: no text.
    """
    if not texts:
        raise ValueError("no text was added")
    grams = NGrams.of([whitespace(text) for text in texts])
    whole = _whole(grams, texts)
    rows = np.column_stack(
        [
            np.ones(len(texts)),
            grams.length == 0,
            grams.length,
            _repetition(grams),
            [_mentions(text, names, objects) for text, names in zip(texts, present, strict=True)],
        ]
    )
    known = any(names is not None for names in present)

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n, empty, length, repetition, known_n, mentions, wrong, wrong_texts, named, there = np.moveaxis(sums, -1, 0)
        numbers = {"length": length / n, "repetition": repetition / n, "n": n, "parse_failures": empty}
        numbers |= {name: np.full(n.shape, value if sums.ndim == 1 else np.nan) for name, value in whole.items()}
        if known:
            numbers["chair_i"] = ratio(wrong, mentions, empty=0.0)
            numbers["chair_s"] = ratio(wrong_texts, known_n)
            numbers["object_recall"] = ratio(named, there, empty=0.0)
            numbers["n/objects"] = known_n
        return numbers

    return Tally(rows=rows.astype(np.float64), finish=finish)


def _whole(grams: NGrams, texts: Sequence[str]) -> dict[str, float]:
    different = np.bincount(grams.order, minlength=ORDERS)
    written = np.bincount(grams.order[grams.gram], weights=grams.count, minlength=ORDERS)
    shares = ratio(different, written, empty=0.0).tolist()
    distinct = {f"distinct{n}": share for n, share in enumerate(shares, start=1)}
    return {"vocabulary": float(different[0]), **distinct, "distinct_texts": len(set(texts)) / len(texts)}


def _repetition(grams: NGrams) -> np.ndarray:
    """(n,) share of the 4-grams of each text that it has had before."""
    longest = grams.order[grams.gram] == ORDERS - 1
    sentence, size = grams.sentence[longest], len(grams.length)
    total = np.bincount(sentence, weights=grams.count[longest], minlength=size)
    return 1 - ratio(np.bincount(sentence, minlength=size), total, empty=1.0)


def _mentions(text: str, names: Collection[str] | None, objects: ObjectWords) -> list[int]:
    """Known (1), mentions, wrong ones, any wrong (1), classes named rightly, classes there; zeros where not known."""
    if names is None:
        return [0] * 6
    found = objects(text)
    wrong = sum(name not in names for name in found)
    return [1, len(found), wrong, wrong > 0, len(set(found) & set(names)), len(set(names))]
