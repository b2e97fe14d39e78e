"""Trivial answers that stand beside every result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from torch import Tensor

from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.evaluation.constant_answers import ConstantAnswer
from rsmoe.evaluation.neighbours import nearest_others
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.metrics.lookup import find_metric
from rsmoe.metrics.metric import Metric, Vocabulary
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result
from rsmoe.metrics.scoring import metric_of, score, tally_results
from rsmoe.parts import instantiate

MAJORITY, TEXT_ONLY, NEAREST = "majority", "text-only", "nearest neighbour"

_ENOUGH = 5
"""Training samples that a question text needs before its own majority is trusted."""


class Baselines:
    """Fitted to training samples, applied to test samples; the test references are never read.

    - **majority**: one answer per task, or per type of question: ``baseline`` of the task's yaml. Where the task's
      protocol has a chance level (`Metric.chance`), that level.
    - **text-only**: the same, per exact text of the instruction, as far as training has at least five samples of it.
    - **nearest neighbour**: the answer of the training sample whose features have the highest cosine, among those with
      the same instruction (else the same type, else the same task), and never one that shows the test picture itself
      (`neighbours.nearest_others`).

    ``Sample.kind`` is used for tasks that are ``typed``, where it follows from the instruction; for change captions it
    is the truth ("changed"), which no baseline may see. The training samples are of the data set that the test samples
    come from.
    """

    def __init__(self, train: Sequence[Sample]) -> None:
        self._train = list(train)
        self._groups: dict[Hashable, list[int]] = defaultdict(list)
        for i, sample in enumerate(self._train):
            for key in _keys(sample):
                self._groups[key].append(i)
        self._answers: dict[Hashable, Any] = {}
        learned = {s.task: find_task(s.task).baseline for s in self._train}
        self._constant: dict[str, ConstantAnswer] = {t: instantiate(dict(node)) for t, node in learned.items() if node}

    def majority(self, test: Sequence[Sample]) -> list[Any]:
        """The constant answer for each test sample, by task or type of question; None where training has no such."""
        return [self._answer(s, self._key(_keys(s)[1 if find_task(s.task).in_words else 2 :])) for s in test]

    def text_only(self, test: Sequence[Sample]) -> list[Any]:
        """The constant answer for each test sample, by the exact text of its instruction."""
        return [self._answer(s, self._key(_keys(s), enough=_ENOUGH)) for s in test]

    def nearest(self, test: Sequence[Sample], train_features: Tensor, test_features: Tensor) -> list[Any]:
        """The neighbour's answer for each test sample, from features (n_train, D) and (n_test, D) of the images."""
        places = nearest_others(
            test, self._train, self._groups, _keys, test_features=test_features, train_features=train_features
        )
        found = [None if i is None else self._train[i] for i in places]
        return [self._constant[s.task].true(s) if s is not None and s.task in self._constant else None for s in found]

    def results(
        self,
        test: Sequence[Sample],
        *,
        protocol_prefix: str,
        split: str,
        train_features: Tensor | None = None,
        test_features: Tensor | None = None,
        protocols: Mapping[str, str] | None = None,
        metrics: Mapping[str, Metric] | None = None,
        vocabulary: Vocabulary = None,
    ) -> dict[str, list[Result]]:
        """Results of every baseline that applies, by its name, under the protocols that the model is scored with.

        Nearest neighbour needs both features. A metric that reads what the baseline of a task does not fill is not
        scored.
        """
        added = dict(metrics or {})
        scored = {task: metric_of(task, protocols, others=added.values()) for task in {s.task for s in test}}
        places = [i for i, s in enumerate(test) if self._fills(s.task, scored[s.task])]
        asked = [test[i] for i in places]
        tasks = {s.task for s in asked}
        usable = {
            name: metric
            for name, metric in added.items()
            if all(self._fills(task, metric) for task in tasks & set(metric.protocol.tasks))
        }
        ways: dict[str, Callable[[], list[Any]]] = {
            MAJORITY: lambda: self.majority(asked),
            TEXT_ONLY: lambda: self.text_only(asked),
        }
        if train_features is not None and test_features is not None:
            ways[NEAREST] = lambda: self.nearest(asked, train_features, test_features[places])
        results = {}
        for name, way in ways.items():
            predictions = [
                Prediction(id=s.id, task=s.task, kind=s.kind, **self._constant[s.task].as_fields(answer, s))
                for s, answer in zip(asked, way(), strict=True)
            ]
            results[name] = score(
                asked,
                predictions,
                protocol_prefix=protocol_prefix,
                split=split,
                protocols=protocols,
                metrics=usable,
                vocabulary=vocabulary,
            )
        for task, metric in sorted(scored.items()):
            if metric.chance:
                results[MAJORITY] += _chance(
                    task, find_metric(metric.chance), test, protocol_prefix=protocol_prefix, split=split
                )
        return results

    def _fills(self, task: str, metric: Metric) -> bool:
        """Whether the baseline of a task gives all that a metric reads."""
        return task in self._constant and set(metric.protocol.fields) <= set(self._constant[task].fields)

    def _key(self, keys: Sequence[Hashable], *, enough: int = 1) -> Hashable | None:
        """The first of the keys that training has ``enough`` samples of; the last needs one."""
        sizes = [len(self._groups.get(key, ())) for key in keys]
        for i, (key, size) in enumerate(zip(keys, sizes, strict=True)):
            if size >= (enough if i + 1 < len(keys) else 1):
                return key
        return None

    def _answer(self, sample: Sample, key: Hashable | None) -> Any:
        if key is None or sample.task not in self._constant:
            return None
        if key not in self._answers:
            group = [self._train[i] for i in self._groups[key]]
            self._answers[key] = self._constant[sample.task].best(group)
        return self._answers[key]


def _keys(sample: Sample) -> list[Hashable]:
    """From the most to the least specific: instruction, type, task."""
    kind = sample.kind if find_task(sample.task).typed else ""
    text = " ".join(whitespace(sample.instruction))
    return [(sample.task, "text", text), (sample.task, "kind", kind), (sample.task,)]


def _chance(task: str, metric: Metric, test: Sequence[Sample], *, protocol_prefix: str, split: str) -> list[Result]:
    tally = metric.tally([(s, Prediction(id=s.id, task=s.task)) for s in test if s.task == task])
    assert tally is not None
    return tally_results(task, metric, tally, protocol_prefix=protocol_prefix, split=split, draws=0)
