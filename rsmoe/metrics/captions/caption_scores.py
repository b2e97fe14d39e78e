"""BLEU-1..4, ROUGE-L, CIDEr-D and METEOR of captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.captions.bleu import bleu, bleu_counts
from rsmoe.metrics.captions.cider import cider_d
from rsmoe.metrics.captions.meteor import STATISTICS, meteor, meteor_statistics
from rsmoe.metrics.captions.ngram_counts import ORDERS
from rsmoe.metrics.captions.rouge import rouge_l
from rsmoe.metrics.captions.tokenize import Tokenizer, tokenizer
from rsmoe.metrics.captions.tokenized import Corpus
from rsmoe.metrics.row_metric import RowMetric
from rsmoe.metrics.tally import Tally, ratio

_BLEU = slice(4, 4 + 2 * ORDERS + 2)
_METEOR = slice(_BLEU.stop, _BLEU.stop + STATISTICS)


def caption_tally(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: Tokenizer, meteor: bool = False
) -> Tally:
    """What each of n captions adds to the corpus scores.

    Args:
        hypotheses: n captions.
        references: of each, one or more.
        tokenize: text -> tokens, of both.
        meteor: add METEOR, which takes longer than all others together, and with it ``s_m``, the mean of bleu4,
            meteor, rouge_l and cider_d by which change captioning ranks (CIDEr-D of 1.4 counts as 140 %).

    Returns:
        bleu1, bleu2, bleu3, bleu4, rouge_l, meteor (0 to 1), cider_d (0 to 10), s_m, n, parse_failures (captions
        without a token; they stay in every denominator and score 0). Equal to pycocoevalcap 1.2 within 1e-9, but
        METEOR, see `rsmoe.metrics.captions.meteor`.

    Raises:
        ValueError: no caption, or a caption without references.
    """
    corpus = Corpus.of(hypotheses, references, tokenize=tokenize)
    counts = bleu_counts(corpus)
    columns = [np.ones(len(counts)), counts[:, 8] == 0, rouge_l(corpus), cider_d(corpus), counts]
    if meteor:
        columns.append(meteor_statistics(corpus))
    return Tally(rows=np.column_stack(columns).astype(np.float64), finish=_finish)


def caption_scores(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: Tokenizer, meteor: bool = False
) -> dict[str, float]:
    """Corpus scores of n captions; arguments, numbers and errors of `caption_tally`."""
    return caption_tally(hypotheses, references, tokenize=tokenize, meteor=meteor).values()


def _finish(sums: np.ndarray) -> dict[str, np.ndarray]:
    n = sums[..., 0]
    scores = {f"bleu{i}": value for i, value in enumerate(np.moveaxis(bleu(sums[..., _BLEU]), -1, 0), start=1)}
    scores |= {"rouge_l": ratio(sums[..., 2], n), "cider_d": ratio(sums[..., 3], n)}
    if sums.shape[-1] > _METEOR.start:
        scores["meteor"] = meteor(sums[..., _METEOR])
        scores["s_m"] = (scores["bleu4"] + scores["meteor"] + scores["rouge_l"] + scores["cider_d"]) / 4
    return scores | {"n": n, "parse_failures": sums[..., 1]}


class Caption(RowMetric):
    """Caption metrics over any number of updates and ranks; the values of `caption_tally`.

    The state holds the texts, because CIDEr-D weighs n-grams by the references of the whole corpus.

    Args:
        tokenize: name of a tokenizer in `rsmoe.metrics.captions.tokenize` ("whitespace", "ptb"), or a function.
        meteor: add METEOR and S*m.
        kwargs: of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, *, tokenize: str | Tokenizer = "whitespace", meteor: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tokenize = tokenizer(tokenize)
        self._meteor = meteor

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Adds one caption and its references per image; an empty caption counts as one that scores 0."""
        pairs = zip(predictions, references, strict=True)
        self.append([text, sorted(texts)] for text, texts in pairs)

    def compute(self) -> dict[str, float]:
        """The numbers of `caption_tally`; raises ValueError before the first update."""
        rows = self.rows()
        texts, references = [text for text, _ in rows], [texts for _, texts in rows]
        return caption_scores(texts, references, tokenize=self._tokenize, meteor=self._meteor)
