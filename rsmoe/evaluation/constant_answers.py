"""How a task is answered without looking at the picture: `baseline` of a yaml of ``conf/task``.

A constant answer of your own is a class with the methods of `ConstantAnswer`; `Prediction.outputs` is where that of a
head goes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
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


_GRID = 64
_SHARES = tuple(i / 20 for i in range(1, 20))


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour to (H, W) bool."""
    rows, columns = ((np.arange(new) + 0.5) * old / new for new, old in zip(shape, mask.shape, strict=True))
    return np.asarray(mask, dtype=bool)[rows.astype(int)[:, None], columns.astype(int)]


def centre_box(shape: tuple[int, int], share: float) -> np.ndarray:
    """(H, W) bool: the box in the middle, of the image's proportions, that covers ``share`` of its area."""
    side = share**0.5
    rows, columns = (np.abs((np.arange(n) + 0.5) / n - 0.5) <= side / 2 for n in shape)
    return rows[:, None] & columns


def best_constant_mask(masks: Sequence[np.ndarray]) -> np.ndarray:
    """The one mask with the highest mean IoU on the training masks: the strongest answer without looking.

    Candidates: the full image, centre boxes of 5 to 95 % of the area, and the mean mask at thresholds 5 to 95 %.

    Args:
        masks: training masks (H, W) bool, of any sizes.

    Returns:
        (64, 64) bool; `resize_mask` brings it to an image.

    Raises:
        ValueError: no mask.
    """
    if not masks:
        raise ValueError("best_constant_mask needs at least one training mask")
    truth = np.stack([resize_mask(m, (_GRID, _GRID)) for m in masks]).reshape(len(masks), -1).astype(np.float32)
    mean, area = truth.mean(0).reshape(_GRID, _GRID), truth.sum(1)

    def mean_iou(mask: np.ndarray) -> float:
        both = truth @ mask.reshape(-1).astype(np.float32)
        either = area + mask.sum() - both
        return float(np.where(either > 0, both / np.maximum(either, 1.0), 1.0).mean())

    return max(_candidates(mean), key=mean_iou)


def _candidates(mean: np.ndarray) -> Iterator[np.ndarray]:
    shape = (_GRID, _GRID)
    yield np.ones(shape, dtype=bool)
    for share in _SHARES:
        yield centre_box(shape, share)
        yield mean >= share
