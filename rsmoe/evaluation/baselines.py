"""Trivial answers that stand beside every result."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.evaluation.mask_baselines import best_constant_mask, resize_mask
from rsmoe.evaluation.neighbours import nearest_others
from rsmoe.metrics.captions.cider import cider_d
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.metrics.captions.tokenized import Corpus
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.protocols import PROTOCOLS
from rsmoe.metrics.result import Result
from rsmoe.metrics.retrieval.recall import chance_recalls
from rsmoe.metrics.scorers import Vocabulary
from rsmoe.metrics.scoring import score

MAJORITY, TEXT_ONLY, NEAREST = "majority", "text-only", "nearest neighbour"

T = TypeVar("T")

_ENOUGH = 5
"""Training samples that a question text needs before its own majority is trusted."""


class Baselines:
    """Fitted to training samples, applied to test samples; the test references are never read.

    - **majority**: one answer per task, or per type of question. Captions: the training caption with the highest mean
      CIDEr-D against the other images' references; change captions: the most frequent sentence; masks: the constant
      mask with the highest mean IoU in training; retrieval: chance.
    - **text-only**: the same, per exact text of the instruction, as far as training has at least five samples of it.
    - **nearest neighbour**: the answer of the training sample whose features have the highest cosine, among those with
      the same instruction (else the same type, else the same task), and never one that shows the test picture itself
      (`neighbours.nearest_others`).

    ``Sample.kind`` is used for questions and masks only, where it follows from the instruction; for change captions
    it is the truth ("changed"), which no baseline may see.

    Args:
        train: training samples of the dataset that the test samples come from.
    """

    def __init__(self, train: Sequence[Sample]) -> None:
        self._train = list(train)
        self._groups: dict[Hashable, list[int]] = defaultdict(list)
        for i, sample in enumerate(self._train):
            for key in _keys(sample):
                self._groups[key].append(i)
        self._answers: dict[Hashable, str] = {}
        self._masks: dict[Hashable, np.ndarray] = {}

    def majority(self, test: Sequence[Sample]) -> list[str]:
        """One text per test sample, by task, or by type of question; "" where training has no such task."""
        return [self._answer(self._key(_keys(s)[1:])) for s in test]

    def text_only(self, test: Sequence[Sample]) -> list[str]:
        """One text per test sample, by the exact text of its instruction."""
        return [self._answer(self._key(_keys(s), enough=_ENOUGH)) for s in test]

    def nearest(self, test: Sequence[Sample], train_features: Tensor, test_features: Tensor) -> list[str]:
        """One text per test sample, from features (n_train, D) and (n_test, D) of the samples' images."""
        return self._said(self._neighbours(test, train_features, test_features))

    def results(
        self,
        test: Sequence[Sample],
        *,
        protocol_prefix: str,
        split: str,
        train_features: Tensor | None = None,
        test_features: Tensor | None = None,
        protocols: dict[str, str] | None = None,
        vocabulary: Vocabulary = None,
    ) -> dict[str, list[Result]]:
        """Results of every baseline that applies, by its name, under the protocols that the model is scored with.

        Nearest neighbour needs both features. Retrieval has the chance level under "majority" and nothing else.
        """
        answered = [s for s in test if s.task != "retrieval"]
        texts: dict[str, list[str]] = {MAJORITY: self.majority(answered), TEXT_ONLY: self.text_only(answered)}
        masks: dict[str, Callable[[int], np.ndarray | None]] = {
            MAJORITY: lambda i: self._mask(self._key(_keys(answered[i])[2:]), answered[i]),
            TEXT_ONLY: lambda i: self._mask(self._key(_keys(answered[i]), enough=_ENOUGH), answered[i]),
        }
        if train_features is not None and test_features is not None:
            kept = test_features[[i for i, s in enumerate(test) if s.task != "retrieval"]]
            found = self._neighbours(answered, train_features, kept)
            texts[NEAREST] = self._said(found)
            masks[NEAREST] = lambda i: self._neighbour_mask(found[i], answered[i])
        results = {}
        for name, answers in texts.items():
            predictions = [
                Prediction(id=s.id, task=s.task, kind=s.kind, text=text, mask=masks[name](i))
                for i, (s, text) in enumerate(zip(answered, answers, strict=True))
            ]
            results[name] = score(
                answered,
                predictions,
                protocol_prefix=protocol_prefix,
                split=split,
                protocols=protocols,
                vocabulary=vocabulary,
            )
        unique = (protocols or {}).get("retrieval") == "retrieval/unique-captions@1"
        results[MAJORITY] += _chance([s for s in test if s.task == "retrieval"], protocol_prefix, split, unique=unique)
        return results

    def _key(self, keys: Sequence[Hashable], *, enough: int = 1) -> Hashable | None:
        """The first of the keys that training has ``enough`` samples of; the last needs one."""
        sizes = [len(self._groups.get(key, ())) for key in keys]
        for i, (key, size) in enumerate(zip(keys, sizes, strict=True)):
            if size >= (enough if i + 1 < len(keys) else 1):
                return key
        return None

    def _answer(self, key: Hashable | None) -> str:
        if key is None:
            return ""
        if key not in self._answers:
            group = [self._train[i] for i in self._groups[key]]
            captions = group[0].task == "caption"
            self._answers[key] = _consensus(group) if captions else _ranked(group)[0]
        return self._answers[key]

    def _mask(self, key: Hashable | None, sample: Sample) -> np.ndarray | None:
        if key is None or sample.mask is None:
            return None
        if key not in self._masks:
            known = [read_array(m) for i in self._groups[key] if (m := self._train[i].mask) is not None]
            self._masks[key] = best_constant_mask(known)
        return resize_mask(self._masks[key], read_array(sample.mask).shape)

    def _neighbour_mask(self, index: int | None, sample: Sample) -> np.ndarray | None:
        mask = None if index is None else self._train[index].mask
        if mask is None or sample.mask is None:
            return None
        return resize_mask(read_array(mask), read_array(sample.mask).shape)

    def _said(self, neighbours: Sequence[int | None]) -> list[str]:
        return ["" if i is None else Counter(self._train[i].responses).most_common(1)[0][0] for i in neighbours]

    def _neighbours(self, test: Sequence[Sample], train: Tensor, features: Tensor) -> list[int | None]:
        return nearest_others(test, self._train, self._groups, _keys, test_features=features, train_features=train)


def _keys(sample: Sample) -> list[Hashable]:
    """From the most to the least specific: instruction, type, task."""
    kind = sample.kind if sample.task in ("vqa", "mask") else ""
    text = " ".join(whitespace(sample.instruction))
    return [(sample.task, "text", text), (sample.task, "kind", kind), (sample.task,)]


def _ranked(samples: Sequence[Sample]) -> list[str]:
    """Distinct responses, the most frequent first, then alphabetically."""
    counts = Counter(text for s in samples for text in s.responses)
    return sorted(counts, key=lambda text: (-counts[text], text))


def _consensus(samples: Sequence[Sample], *, candidates: int = 32, images: int = 128) -> str:
    """The caption with the highest mean CIDEr-D among the most frequent ones and as many from all over the set."""
    ranked = _ranked(samples)
    pool = list(dict.fromkeys([*ranked[:candidates], *_spread(ranked, candidates)]))
    references = [sample.responses for sample in _spread(samples, images)]
    corpus = Corpus.of(
        [text for text in pool for _ in references],
        references,
        tokenize=whitespace,
        images=list(range(len(references))) * len(pool),
    )
    return pool[int(cider_d(corpus).reshape(len(pool), -1).mean(axis=1).argmax())]


def _spread(items: Sequence[T], n: int) -> list[T]:
    """At most n items, evenly spaced."""
    return [items[i * len(items) // n] for i in range(n)] if len(items) > n else list(items)


def _chance(samples: Sequence[Sample], protocol_prefix: str, split: str, *, unique: bool) -> list[Result]:
    if not samples:
        return []
    texts = [set(s.responses) if unique else s.responses for s in samples]
    images = Counter(text for own in texts for text in own)
    name = protocol_prefix + PROTOCOLS["retrieval/chance-unique@1" if unique else "retrieval/chance@1"].id
    values = chance_recalls([len(own) for own in texts], list(images.values()) if unique else None)
    return [
        Result(metric=f"retrieval/{key}", value=100.0 * value, protocol=name, split=split, n=len(samples))
        for key, value in values.items()
    ]
