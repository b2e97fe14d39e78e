"""Samples and predictions -> numbers: the one place where a `Result` of an evaluation is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from rsmoe.data.sample import TASKS, Sample
from rsmoe.errors import UserError, unknown_name
from rsmoe.metrics.bootstrap import Interval, differences, intervals
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.protocols import PROTOCOLS, protocol
from rsmoe.metrics.result import Result
from rsmoe.metrics.router_accuracy import RoutingStats
from rsmoe.metrics.scorers import SCORERS, Pairs, Vocabulary
from rsmoe.metrics.tally import Tally

DEFAULT_PROTOCOLS = {
    "caption": "caption/coco-whitespace@1",
    "vqa": "vqa/exact@1",
    "change_caption": "change-caption/whitespace@1",
    "mask": "mask/giou@1",
    "retrieval": "retrieval/all-captions@1",
    "change_vqa": "change-vqa/changechat@1",
    "ground": "ground/hbb@1",
}

UNSCALED = (
    *("load_cv", "mae", "rmse", "length", "vocabulary", "distinct1", "distinct2", "distinct3", "distinct4"),
    *("distinct_texts", "repetition", "chair_i", "chair_s", "object_recall"),
)
"""Numbers (the part behind the family) that are not multiplied by 100."""

_HIDDEN = ("n", "parse_failures", "n_texts")
_NATS = ("entropy", "mutual_information")
"""Their normalised twins are what a table can compare."""


def score(
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    *,
    protocol_prefix: str,
    split: str,
    protocols: Mapping[str, str] | None = None,
    expert_tasks: Mapping[str, Sequence[str]] | None = None,
    vocabulary: Vocabulary = None,
    draws: int = 0,
    seed: int = 0,
) -> list[Result]:
    """Every metric of every task among the samples, in the order of `TASKS`; values on the scale that papers print.

    Samples of one call form one corpus per task: score datasets one by one. Runs in one process, on all predictions.
    A number that these samples leave undefined (false alarms without an unchanged pair) is not among the results.

    Args:
        samples: of one dataset and split.
        predictions: one per sample, in any order.
        protocol_prefix: `dataset.protocol`: "" or "generated/".
        split: "val", "test" ...
        protocols: task -> protocol id, where it is not the one of `DEFAULT_PROTOCOLS`.
        expert_tasks: expert -> the tasks it serves; given, and with routing weights in the predictions, adds
            "routing/..." results.
        vocabulary: word -> id, for protocols on word ids.
        draws: resampled test sets for a 95 % interval of every number, see `bootstrap.intervals`; 0 for none.
        seed: of the draws.

    Raises:
        UserError: ids of samples and predictions are not the same set, an id occurs twice, or a protocol is unknown.
    """
    chosen = _chosen(protocols)
    pairs = match(samples, predictions)
    tallies = [(task, chosen[task], SCORERS[chosen[task]](own, vocabulary)) for task, own in _by_task(pairs)]
    routed = [(s, p) for s, p in pairs if p.weights]
    if expert_tasks is not None and routed:
        tallies.append(("routing", "routing/task@1", _routing(routed, expert_tasks)))
    results = []
    for family, name, tally in tallies:
        results += tally_results(family, tally, protocol_prefix + name, split=split, draws=draws, seed=seed)
    return results


def compare(
    samples: Sequence[Sample],
    predictions: Sequence[Prediction],
    others: Sequence[Prediction],
    *,
    protocols: Mapping[str, str] | None = None,
    vocabulary: Vocabulary = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Metric -> predictions minus others on the same samples, with its paired 95 % interval; arguments of `score`."""
    chosen = _chosen(protocols)
    mine, theirs = (dict(_by_task(match(samples, given))) for given in (predictions, others))
    found = {}
    for task, own in mine.items():
        first, second = (SCORERS[chosen[task]](pairs, vocabulary) for pairs in (own, theirs[task]))
        for name, gap in differences(first, second, draws=draws, seed=seed).items():
            if name.split("/")[0] not in _HIDDEN and not math.isnan(gap.value):
                k = _scale(name)
                found[f"{task}/{name}"] = Interval(value=k * gap.value, low=k * gap.low, high=k * gap.high)
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


def _chosen(protocols: Mapping[str, str] | None) -> dict[str, str]:
    chosen = DEFAULT_PROTOCOLS | dict(protocols or {})
    for task, name in chosen.items():
        if task not in DEFAULT_PROTOCOLS:
            raise unknown_name("task", task, DEFAULT_PROTOCOLS)
        if task not in protocol(name).tasks or name not in SCORERS:
            usable = [p for p in SCORERS if task in PROTOCOLS[p].tasks]
            raise UserError(f"protocol {name!r} does not score task {task!r}. Use one of: {', '.join(usable)}.")
    return chosen


def _by_task(pairs: Pairs) -> list[tuple[str, Pairs]]:
    groups = [(task, [(s, p) for s, p in pairs if s.task == task]) for task in TASKS]
    return [(task, own) for task, own in groups if own]


def _doubled(ids: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {i for i in ids if i in seen or seen.add(i)}  # type: ignore[func-returns-value]


def _scale(name: str) -> float:
    return 1.0 if name.split("/")[0] in UNSCALED else 100.0


def tally_results(
    family: str, tally: Tally, protocol_id: str, *, split: str, draws: int = 1000, seed: int = 0
) -> list[Result]:
    """The numbers of a tally as "<family>/<name>", those that are undefined left out.

    "bleu4/changed" takes its counts from "n/changed", "false_alarm" from "n/false_alarm", if they exist.

    Args:
        family: "caption", "change_map" ...
        tally: of a metric, on the scale 0 to 1.
        protocol_id: with its prefix.
        split: of the samples.
        draws, seed: as for `score`.
    """
    values, results = tally.values(), []
    bounds = intervals(tally, draws=draws, seed=seed) if draws else {}
    for name, value in values.items():
        if name.split("/")[0] in _HIDDEN or (family == "routing" and name in _NATS) or math.isnan(value):
            continue
        part, bound, scale = name.split("/")[-1], bounds.get(name), _scale(name)
        if bound is not None and math.isnan(bound.low):  # a number of the whole, which resampling says nothing of
            bound = None
        results.append(
            Result(
                metric=f"{family}/{name}",
                value=scale * value,
                protocol=protocol_id,
                split=split,
                n=int(values.get(f"n/{part}", values["n"])),
                parse_failures=int(values.get(f"parse_failures/{part}", values.get("parse_failures", 0.0))),
                low=None if bound is None else scale * bound.low,
                high=None if bound is None else scale * bound.high,
            )
        )
    return results


def _routing(pairs: Pairs, expert_tasks: Mapping[str, Sequence[str]]) -> Tally:
    experts = pairs[0][1].experts
    for expert in experts:
        if expert not in expert_tasks:
            raise unknown_name("expert", expert, expert_tasks)
    metric = RoutingStats(experts=experts, expert_tasks=[expert_tasks[e] for e in experts], sync_on_compute=False)
    weights = torch.tensor([p.weights for _, p in pairs], dtype=torch.float64)
    return metric.tally(weights, torch.tensor([TASKS.index(s.task) for s, _ in pairs]))
