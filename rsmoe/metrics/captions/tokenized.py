"""Captions and their references, tokenised and counted once for all caption scorers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rsmoe.metrics.captions.ngram_counts import NGrams, runs
from rsmoe.metrics.captions.tokenize import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """n captions, each to be scored against the references of one of I images; Q pairs of caption and reference."""

    sentences: list[list[str]]
    """Tokens of the S distinct texts."""
    hypotheses: np.ndarray
    """(n,) int64: the sentence of each caption."""
    references: np.ndarray
    """(R,) int64: the sentence of each reference, image after image."""
    image: np.ndarray
    """(R,) int64: the image of each reference."""
    pairs: np.ndarray
    """(Q, 2) int64: caption and reference; the pairs of one caption stand together."""

    @classmethod
    def of(
        cls,
        hypotheses: Sequence[str],
        references: Sequence[Sequence[str]],
        *,
        tokenize: Tokenizer,
        images: Sequence[int] | None = None,
    ) -> Corpus:
        """Every distinct text is tokenised once.

        Args:
            hypotheses: n captions.
            references: of each image, at least one.
            tokenize: text -> tokens.
            images: (n,) the image of each caption; None: as many images as captions, in the same order.

        Raises:
            ValueError: no caption, an image without references, or lengths that do not match.
        """
        if not hypotheses or not all(references) or len(hypotheses) != len(references if images is None else images):
            raise ValueError(
                f"{len(hypotheses)} captions, {len(references)} reference sets: need n >= 1 of each, none empty"
            )
        place = {text: i for i, text in enumerate(dict.fromkeys(t for ts in (hypotheses, *references) for t in ts))}
        size = np.array([len(texts) for texts in references])
        target = np.arange(len(hypotheses)) if images is None else np.asarray(images)
        offset, caption = runs(size[target])
        return cls(
            sentences=[tokenize(text) for text in place],
            hypotheses=np.array([place[text] for text in hypotheses]),
            references=np.array([place[text] for texts in references for text in texts]),
            image=np.repeat(np.arange(len(size)), size),
            pairs=np.stack([caption, (np.cumsum(size) - size)[target][caption] + offset], axis=1),
        )

    @cached_property
    def grams(self) -> NGrams:
        """The n-grams of every sentence."""
        return NGrams.of(self.sentences)

    @cached_property
    def shared(self) -> np.ndarray:
        """(3, X) int64, the n-grams that both of a pair have: pair, row of the caption's and of the reference's count.

        Rows are those of `grams`.
        """
        table, size = self.grams, len(self.grams.order)
        mine, caption = table.rows(self.hypotheses)
        theirs, pair = table.rows(self.references[self.pairs[:, 1]])
        keys = caption * size + table.gram[mine]  # ascending
        wanted = self.pairs[pair, 0] * size + table.gram[theirs]
        found = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        hit = keys[found] == wanted if len(keys) else np.zeros(len(wanted), dtype=bool)
        return np.stack([pair[hit], mine[found[hit]], theirs[hit]])

    def mean(self, values: np.ndarray) -> np.ndarray:
        """(Q,) values of pairs -> (n,) their mean over the references of each caption."""
        caption = self.pairs[:, 0]
        return np.bincount(caption, weights=values) / np.bincount(caption)
