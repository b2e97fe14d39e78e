"""How a task is answered without looking at the picture: `baseline` of a yaml of ``conf/task``.

A constant answer of your own is a class with the methods of `ConstantAnswer`; `Prediction.outputs` is where that of a
head goes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.evaluation.mask_baselines import best_constant_mask, resize_mask
from rsmoe.metrics.captions.cider import cider_d
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.metrics.captions.tokenized import Corpus


class ConstantAnswer(ABC):
    """One answer for many samples."""

    fields: tuple[str, ...] = ("text",)
    """What it fills of a `Prediction`: metrics that read more are not scored with it."""

    @abstractmethod
    def best(self, train: Sequence[Sample]) -> Any:
        """The constant answer that does best on training samples, one at least; None where they hold none."""

    @abstractmethod
    def true(self, sample: Sample) -> Any:
        """The answer of one training sample, for its nearest neighbours; None where it holds none."""

    @abstractmethod
    def as_fields(self, answer: Any, test: Sample) -> dict[str, Any]:
        """An answer as `fields` of the prediction for a sample, whose references are not read."""


class FrequentText(ConstantAnswer):
    """The most frequent reference."""

    def best(self, train: Sequence[Sample]) -> str:
        """The first of the most frequent ones in the alphabet."""
        return _ranked(train)[0]

    def true(self, sample: Sample) -> str:
        """The most frequent reference of the sample."""
        return Counter(sample.responses).most_common(1)[0][0]

    def as_fields(self, answer: Any, test: Sample) -> dict[str, Any]:
        """The text; "" for none."""
        return {"text": answer or ""}


class ConsensusCaption(FrequentText):
    """The training caption with the highest mean CIDEr-D against the references of the other images."""

    def best(self, train: Sequence[Sample]) -> str:
        """Among the 32 most frequent captions and as many from all over the set, against 128 images."""
        ranked = _ranked(train)
        pool = list(dict.fromkeys([*ranked[:32], *(ranked[i] for i in spread(len(ranked), 32))]))
        references = [train[i].responses for i in spread(len(train), 128)]
        corpus = Corpus.of(
            [text for text in pool for _ in references],
            references,
            tokenize=whitespace,
            images=list(range(len(references))) * len(pool),
        )
        return pool[int(cider_d(corpus).reshape(len(pool), -1).mean(axis=1).argmax())]


class ConstantMask(ConstantAnswer):
    """The mask with the highest mean IoU, see `best_constant_mask`; of the size of the true one of each sample."""

    fields = ("mask",)

    def best(self, train: Sequence[Sample]) -> np.ndarray | None:
        """(64, 64) bool."""
        known = [read_array(sample.mask) for sample in train if sample.mask is not None]
        return best_constant_mask(known) if known else None

    def true(self, sample: Sample) -> np.ndarray | None:
        """(H, W) bool."""
        return None if sample.mask is None else read_array(sample.mask)

    def as_fields(self, answer: Any, test: Sample) -> dict[str, Any]:
        """The mask, brought to the size of the picture."""
        size = None if test.mask is None else read_array(test.mask).shape
        return {"mask": None if answer is None or size is None else resize_mask(answer, (size[0], size[1]))}


def _ranked(samples: Sequence[Sample]) -> list[str]:
    """Distinct responses, the most frequent first, then alphabetically."""
    counts = Counter(text for s in samples for text in s.responses)
    return sorted(counts, key=lambda text: (-counts[text], text))
