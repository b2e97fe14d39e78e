"""Descriptions taken apart: how well the sentences on the theme, on objects and on relations match."""

from __future__ import annotations

import numpy as np

from rsmoe.data.aspects import ASPECTS, aspect_sentences
from rsmoe.metrics.captions.cider import cider_d
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.metrics.captions.tokenized import Corpus
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio


class CaptionAspects(Metric):
    """CIDEr-D of the sentences of each aspect, as ``theme``, ``object`` and ``relation``.

    `rsmoe.data.aspects.aspect_sentences` takes caption and references apart. An aspect is scored on the samples whose
    references have a sentence of it, as a corpus of its own; a caption without one scores 0 there.
    """

    protocol = Protocol(
        id="caption/aspects@1",
        title="CIDEr-D by aspect of a description",
        sentence="CIDEr-D, x100, of the first sentence (theme), of the sentences that relate things (relation) and of "
        "the others (object), each against the same part of the references, on whitespace tokens; samples whose "
        "references have no such sentence are left out, captions without one score 0.",
        tasks=("caption",),
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a caption."""
        rows = np.zeros((len(pairs), 2 + 2 * len(ASPECTS)))  # n, empty, then samples and score of each aspect
        rows[:, 0] = 1
        rows[:, 1] = [not whitespace(p.text) for _, p in pairs]
        written = [aspect_sentences(p.text) for _, p in pairs]
        told = [[aspect_sentences(reference) for reference in s.responses] for s, _ in pairs]
        for column, aspect in enumerate(ASPECTS):
            references = [[parts[aspect] for parts in own if parts[aspect]] for own in told]
            if not (places := [place for place, own in enumerate(references) if own]):
                continue
            corpus = Corpus.of(
                [written[i][aspect] for i in places], [references[i] for i in places], tokenize=whitespace
            )
            rows[places, 2 + 2 * column], rows[places, 3 + 2 * column] = 1, cider_d(corpus)

        def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
            found = {"n": sums[..., 0], "parse_failures": sums[..., 1]}
            for column, aspect in enumerate(ASPECTS):
                count, total = sums[..., 2 + 2 * column], sums[..., 3 + 2 * column]
                found |= {aspect: ratio(total, count), f"n/{aspect}": count}
            return found

        return Tally(rows=rows, finish=finish)
