"""The number that a training returns, for sweepers that look for its highest or lowest value."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.errors import UserError, unknown_name
from rsmoe.evaluation.evaluate_splits import Outcome, assess
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.result import Result
from rsmoe.model import RSMoE


def by_name(outcomes: Sequence[Outcome]) -> dict[str, Result]:
    """Every result under ``<split>/<data set>/<metric>``, "val/captions/caption/cider_d"."""
    return {f"{o.split}/{o.data}/{result.metric}": result for o in outcomes for result in o.results}


def full_name(objective: str, names: Collection[str]) -> str:
    """The only name that is ``objective``, or ends with ``/<objective>``.

    Raises:
        UserError: there is none, or more than one.
    """
    found = [name for name in names if name == objective or name.endswith(f"/{objective}")]
    if not found:
        raise unknown_name("number in objective", objective, sorted({name.split("/", 2)[2] for name in names}))
    if len(found) > 1:
        raise UserError(f"objective={objective} is measured {len(found)} times: give one of {', '.join(sorted(found))}")
    return found[0]


def check_objective(
    objective: str,
    *,
    model: RSMoE,
    data: RSDataModule,
    splits: Sequence[str],
    limit: int | None,
    metrics: Mapping[str, Mapping[str, Any]],
) -> None:
    """Nothing, where the evaluation of these splits will have the number."""
    outcomes = []
    for split in splits:
        for name, dataset in data.datasets[split].items():
            kinds: dict[tuple[str, str], Sample] = {}
            for place in spread(len(dataset), limit):  # type: ignore[arg-type]
                sample = dataset[place]
                kinds.setdefault((sample.task, sample.kind), sample)
            samples = list(kinds.values())
            even = (1 / len(model.names),) * len(model.names)
            silent = [Prediction(id=s.id, task=s.task, kind=s.kind, weights=even, experts=model.names) for s in samples]
            outcomes.append(
                assess(name, dataset, samples=samples, predictions=silent, split=split, model=model, metrics=metrics)
            )
    full_name(objective, by_name(outcomes))
