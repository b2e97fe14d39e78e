"""BLEU-1..4, ROUGE-L and CIDEr-D of captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.bleu import bleu, bleu_counts
from rsmoe.metrics.cider import cider_d
from rsmoe.metrics.rouge import rouge_l
from rsmoe.metrics.rows import RowMetric
from rsmoe.metrics.sentence import Sentence
from rsmoe.metrics.tokenize import Tokenizer, tokenizer


def caption_scores(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: Tokenizer
) -> dict[str, float]:
    """Corpus scores of n captions, each with one or more references.

    Returns:
        bleu1, bleu2, bleu3, bleu4, rouge_l (0 to 1), cider_d (0 to 10), n, parse_failures (captions without a token;
        they stay in every denominator and score 0). Equal to pycocoevalcap 1.2 within 1e-9.

    Raises:
        ValueError: no caption, or a caption without references.
    """
    if not hypotheses or len(hypotheses) != len(references) or not all(references):
        raise ValueError(
            f"{len(hypotheses)} captions, {len(references)} reference sets: need n >= 1 of each, none empty"
        )
    distinct = {text for texts in (hypotheses, *references) for text in texts}
    sentences = {text: Sentence.of(tokenize(text)) for text in distinct}
    mine = [sentences[text] for text in hypotheses]
    theirs = [[sentences[text] for text in texts] for texts in references]
    pairs = list(zip(mine, theirs, strict=True))
    bleus = bleu(np.sum([bleu_counts(h, r) for h, r in pairs], axis=0))
    return {
        **{f"bleu{n}": value for n, value in enumerate(bleus, start=1)},
        "rouge_l": float(np.mean([rouge_l(h.tokens, [s.tokens for s in r]) for h, r in pairs])),
        "cider_d": float(np.mean(cider_d(mine, theirs))),
        "n": float(len(mine)),
        "parse_failures": float(sum(not sentence.tokens for sentence in mine)),
    }


class Caption(RowMetric):
    """Caption metrics over any number of updates and ranks; the values of `caption_scores`.

    The state holds the texts, because CIDEr-D weighs n-grams by the references of the whole corpus.

    Args:
        tokenize: name of a tokenizer in `rsmoe.metrics.tokenize` ("whitespace", "ptb"), or a function.
        kwargs: of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, *, tokenize: str | Tokenizer = "whitespace", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tokenize = tokenizer(tokenize) if isinstance(tokenize, str) else tokenize

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Adds one caption and its references per image; an empty caption counts as one that scores 0."""
        pairs = zip(predictions, references, strict=True)
        self.append([text, sorted(texts)] for text, texts in pairs)

    def compute(self) -> dict[str, float]:
        """bleu1..4, rouge_l, cider_d, n, parse_failures; raises ValueError before the first update."""
        rows = self.rows()
        return caption_scores([text for text, _ in rows], [texts for _, texts in rows], tokenize=self._tokenize)
