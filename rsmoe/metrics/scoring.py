"""Samples and predictions -> numbers: the one place where a `Result` of an evaluation is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task, task_names
from rsmoe.errors import UserError
from rsmoe.metrics.bootstrap import Interval, differences, intervals
from rsmoe.metrics.lookup import find_metric
from rsmoe.metrics.lookup import metrics as known_metrics
from rsmoe.metrics.metric import Metric, Pairs, Vocabulary
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result
from rsmoe.metrics.router_accuracy import RoutingStats
from rsmoe.metrics.tally import Tally

_COUNTS = ("n", "parse_failures")


def score(
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    *,
    protocol_prefix: str,
    split: str,
    protocols: Mapping[str, str] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    expert_tasks: Mapping[str, Sequence[str]] | None = None,
    vocabulary: Vocabulary = None,
    draws: int = 0,
    seed: int = 0,
) -> list[Result]:
    """Every metric of every task among the samples, by task, then those that were added.

    Samples of one call form one corpus per task: score datasets one by one. Runs in one process, on all predictions.
    A number that these samples leave undefined (false alarms without an unchanged pair) is not among the results.

    Args:
        samples: of one dataset and split.
        predictions: one per sample, in any order.
        protocol_prefix: `dataset.protocol`: "" or "generated/".
        split: "val", "test" ...
        protocols: task -> protocol id, where it is not the task's default.
        metrics: name -> a metric beside those of the tasks; its numbers are "<name>/<number>".
        expert_tasks: expert -> the tasks it serves; given, and with routing weights in the predictions, adds
            "routing/..." results.
        vocabulary: word -> id, for protocols on word ids.
        draws: resampled test sets for a 95 % interval of every number, see `bootstrap.intervals`; 0 for none.
        seed: of the draws.

    Raises:
        UserError: ids of samples and predictions are not the same set, an id occurs twice, or a protocol is unknown.
    """
    pairs = match(samples, predictions)
    tallies = _tallies(pairs, protocols=protocols, metrics=metrics, vocabulary=vocabulary)
    if expert_tasks is not None:
        routing = RoutingStats(expert_tasks=expert_tasks)
        tallies.append(("routing", routing, routing.tally(pairs)))
    options: dict[str, Any] = {"protocol_prefix": protocol_prefix, "split": split, "draws": draws, "seed": seed}
    return [r for family, m, tally in tallies if tally is not None for r in tally_results(family, m, tally, **options)]


def compare(
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    others: Sequence[Prediction],
    *,
    protocols: Mapping[str, str] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    vocabulary: Vocabulary = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Metric -> predictions minus others on the same samples, with its paired 95 % interval; arguments of `score`."""
    options: dict[str, Any] = {"protocols": protocols, "metrics": metrics, "vocabulary": vocabulary}
    mine, theirs = (_tallies(match(samples, given), **options) for given in (predictions, others))
    found = {}
    for (family, metric, first), (_, _, second) in zip(mine, theirs, strict=True):
        if first is None or second is None:
            continue
        for name, gap in differences(first, second, draws=draws, seed=seed).items():
            if _reported(metric, name) and not math.isnan(gap.value):
                k = metric.scale(name)
                found[f"{family}/{name}"] = Interval(value=k * gap.value, low=k * gap.low, high=k * gap.high)
    return found


def match(samples: Sequence[Sample], predictions: Sequence[Prediction]) -> list[tuple[Sample, Prediction]]:
    """Each sample with its prediction, by id; raises `UserError` naming ids that are missing, unknown or doubled."""
    by_id = {p.id: p for p in predictions}
    ids = [s.id for s in samples]
    problems = {
        "samples without a prediction": set(ids) - set(by_id),
        "predictions without a sample": set(by_id) - set(ids),
        "sample ids that occur twice": _doubled(ids),
        "prediction ids that occur twice": _doubled([p.id for p in predictions]),
    }
    found = [f"{len(v)} {k} ({', '.join(sorted(v)[:5])})" for k, v in problems.items() if v]
    if found:
        raise UserError(
            f"{len(ids)} samples and {len(predictions)} predictions do not match: {'; '.join(found)}. "
            "Give one prediction per sample, an empty one where the model failed."
        )
    return [(s, by_id[s.id]) for s in samples]


def check_protocols(protocols: Mapping[str, str] | None, *, others: Iterable[Metric] = ()) -> None:
    """Raises `UserError` for a task, a protocol or a pair of them that does not exist."""
    others = list(others)
    for task in protocols or {}:
        metric_of(task, protocols, others=others)


def metric_of(task: str, protocols: Mapping[str, str] | None = None, *, others: Iterable[Metric] = ()) -> Metric:
    """The metric that scores a task.

    Args:
        task: a name of ``conf/task``.
        protocols: task -> protocol id, where it is not the task's default.
        others: metrics that came by config.

    Raises:
        UserError: an unknown task or protocol, or one that does not score this task (those that do are named).
    """
    default = find_task(task).protocol
    name, others = (protocols or {}).get(task, default), list(others)
    metric = find_metric(name, others=others)
    if task not in metric.protocol.tasks:
        usable = [m.protocol.id for m in [*others, *known_metrics()] if task in m.protocol.tasks]
        raise UserError(f"protocol {name!r} does not score task {task!r}. Use one of: {', '.join(usable)}.")
    return metric


def tally_results(
    family: str, metric: Metric, tally: Tally, *, protocol_prefix: str, split: str, draws: int = 1000, seed: int = 0
) -> list[Result]:
    """The numbers of a tally as "<family>/<name>", those that are undefined left out.

    "bleu4/changed" takes its counts from "n/changed", "false_alarm" from "n/false_alarm", if they exist.

    Args:
        family: "caption", "change_map" ...
        metric: that made the tally.
        tally: on the scale 0 to 1.
        protocol_prefix, split, draws, seed: as for `score`.
    """
    values, results = tally.values(), []
    bounds = intervals(tally, draws=draws, seed=seed) if draws else {}
    for name, value in values.items():
        if not _reported(metric, name) or math.isnan(value):
            continue
        part, bound, scale = name.split("/")[-1], bounds.get(name), metric.scale(name)
        if bound is not None and math.isnan(bound.low):  # a number of the whole, which resampling says nothing of
            bound = None
        results.append(
            Result(
                metric=f"{family}/{name}",
                value=scale * value,
                protocol=protocol_prefix + metric.protocol.id,
                split=split,
                n=int(values.get(f"n/{part}", values["n"])),
                parse_failures=int(values.get(f"parse_failures/{part}", values.get("parse_failures", 0.0))),
                low=None if bound is None else scale * bound.low,
                high=None if bound is None else scale * bound.high,
                lower_is_better=name.split("/")[0] in metric.lower_is_better,
            )
        )
    return results


def _reported(metric: Metric, name: str) -> bool:
    return name.split("/")[0] not in (*_COUNTS, *metric.hidden)


def _tallies(
    pairs: Pairs,
    *,
    protocols: Mapping[str, str] | None,
    metrics: Mapping[str, Metric] | None,
    vocabulary: Vocabulary,
) -> list[tuple[str, Metric, Tally | None]]:
    """(family, metric, tally) of every task among the pairs and of every added metric."""
    added = dict(metrics or {})
    check_protocols(protocols, others=added.values())
    asked: list[tuple[str, Metric, tuple[str, ...]]] = [
        (task, metric_of(task, protocols, others=added.values()), (task,)) for task in task_names()
    ]
    asked += [(name, metric, metric.protocol.tasks) for name, metric in added.items()]
    found = []
    for family, metric, tasks in asked:
        if own := [(s, p) for s, p in pairs if s.task in tasks]:
            found.append((family, metric, metric.with_vocabulary(vocabulary).tally(own)))
    return found


def _doubled(ids: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {i for i in ids if i in seen or seen.add(i)}  # type: ignore[func-returns-value]
