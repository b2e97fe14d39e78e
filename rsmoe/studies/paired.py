"""One method minus another on the same samples, with a paired interval, from what their runs left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.files.json_text import read_rows
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import task_names
from rsmoe.errors import UserError
from rsmoe.metrics.bootstrap import Interval, differences
from rsmoe.metrics.lookup import find_metric
from rsmoe.metrics.metric import Metric
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.tally import Tally
from rsmoe.studies.run_results import RunResults

Texts = Mapping[str, tuple[Sample, Prediction]]
"""Id -> sample, without its pictures, and prediction."""


def paired_differences(
    mine: Mapping[int, Texts], theirs: Mapping[int, Texts], *, columns: Sequence[tuple[str, str]], draws: int = 1000
) -> dict[tuple[str, str], Interval]:
    """(metric, protocol) -> mine minus theirs, the mean over the seeds that both have, with bounds of 95 %.

    The samples are drawn again, the same for both methods and all seeds; how far another seed would move the number is
    not in the bounds. Known for protocols that read texts alone, whose references are in ``predictions.jsonl``.

    Args:
        mine, theirs: seed -> texts of the run, see `texts_of`; of one method each.
        columns: that are asked for.
    """
    both = [(mine[seed], theirs[seed]) for seed in mine if seed in theirs]
    order = sorted(both[0][0]) if both else []
    if not order or any(sorted(given) != order for pair in both for given in pair):
        return {}
    found: dict[tuple[str, str], Interval] = {}
    for family, protocol in dict.fromkeys((metric.partition("/")[0], protocol) for metric, protocol in columns):
        metric = _of_texts(protocol)
        if metric is None:
            continue
        tasks = (family,) if family in task_names() else metric.protocol.tasks
        one, other = (
            _mean([metric.tally([own[i] for i in order if own[i][0].task in tasks]) for own in side])
            for side in zip(*both, strict=True)
        )
        for name, gap in differences(one, other, draws=draws).items():
            k = metric.scale(name)
            found[f"{family}/{name}", protocol] = Interval(value=k * gap.value, low=k * gap.low, high=k * gap.high)
    return {column: found[column] for column in columns if column in found}


def _of_texts(protocol: str) -> Metric | None:
    """The metric, where it reads nothing but texts."""
    try:
        metric = find_metric(protocol)
    except UserError:  # of a run's own
        return None
    return metric if metric.protocol.fields == ("text",) and not metric.needs_vocabulary else None


def texts_of(run: RunResults, data: str) -> Texts:
    """Of one data set; {} where the run has left no predictions with references."""
    path = run.path.parent / "predictions.jsonl"
    if not path.is_file():
        return {}
    rows = [row for _, row in read_rows(path) if row.get("data", data) == data]
    if not all("references" in row for row in rows):
        return {}
    return {row["id"]: _pair(row) for row in rows}


def _pair(row: Mapping[str, Any]) -> tuple[Sample, Prediction]:
    about = {"id": row["id"], "task": row["task"], "kind": row["kind"]}
    sample = Sample(
        images=(Path("not read"),), instruction=row["instruction"], responses=tuple(row["references"]), source="",
        **about,
    )  # fmt: skip
    return sample, Prediction(text=row["text"], **about)


def _mean(tallies: Sequence[Tally | None]) -> Tally:
    """Each number as the mean of those of several tallies of the same samples."""
    own = [tally for tally in tallies if tally is not None]
    edges = np.cumsum([0, *(tally.rows.shape[1] for tally in own)])

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        parts = zip(own, edges[:-1], edges[1:], strict=True)
        numbers = [tally.finish(sums[..., start:end]) for tally, start, end in parts]
        return {name: np.mean([each[name] for each in numbers], axis=0) for name in numbers[0]}

    return Tally(rows=np.concatenate([tally.rows for tally in own], axis=1), finish=finish)
