"""Whether something changed, and how much of it: answers about pairs of dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.row_metric import RowMetric
from rsmoe.metrics.tally import Tally, overlap, ratio


class ChangePresence(RowMetric):
    """accuracy, precision, recall and f1 of "changed", and ``false_alarm``, the share of unchanged pairs not called so.

    An answer that cannot be read is wrong: a miss on a changed pair, a false alarm on an unchanged one.

    Args:
        kwargs: of ``torchmetrics.Metric``.
    """

    def update(self, predictions: Sequence[bool | None], targets: Sequence[bool]) -> None:
        """Adds what was said (None: could not be read) and what is true, per pair."""
        self.append([said, bool(truth)] for said, truth in zip(predictions, targets, strict=True))

    def compute(self) -> dict[str, float]:
        """The numbers on the scale 0 to 1, n, parse_failures; raises ValueError when no pair was added."""
        return presence_tally(self.rows()).values()


class ChangeCounts(RowMetric):
    """``mae/<class>`` and ``rmse/<class>`` of counts, ``exact`` (every class right) and ``false_alarm``.

    ``false_alarm`` is the share of the pairs without any change for which something was counted. An answer that cannot
    be read is as wrong as one can be: for each class the count from 0 to the largest true one of the corpus that is
    furthest from the truth, by one thing at least. It is never exact, and a false alarm where nothing changed.

    Args:
        kwargs: of ``torchmetrics.Metric``.
    """

    def update(self, predictions: Sequence[Mapping[str, int] | None], targets: Sequence[Mapping[str, int]]) -> None:
        """Adds the counts that were said (None: could not be read) and the true ones, by class, per pair."""
        pairs = zip(predictions, targets, strict=True)
        self.append([None if said is None else dict(said), dict(truth)] for said, truth in pairs)

    def compute(self) -> dict[str, float]:
        """Errors in things, shares from 0 to 1, n, parse_failures; raises ValueError when no pair was added."""
        return counts_tally(self.rows()).values()


def presence_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `ChangePresence` from rows of [said or None, truth]."""
    if not rows:
        raise ValueError("no pair was added before compute()")
    table = np.zeros((len(rows), 5))  # tp, fp, fn, tn, unreadable
    for i, (said, truth) in enumerate(rows):
        said_changed = not truth if said is None else said
        table[i, (0 if truth else 1) if said_changed else (2 if truth else 3)] = 1
        table[i, 4] = said is None

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        tp, fp, fn, tn, failed = np.moveaxis(sums, -1, 0)
        n = tp + fp + fn + tn
        return {
            "accuracy": ratio(tp + tn, n),
            **overlap(tp, fp, fn),
            "false_alarm": ratio(fp, fp + tn),
            "n": n,
            "n/false_alarm": fp + tn,
            "parse_failures": failed,
        }

    return Tally(rows=table, finish=finish)


def counts_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `ChangeCounts` from rows of [counts or None, true counts]."""
    if not rows:
        raise ValueError("no pair was added before compute()")
    classes = sorted({name for _, truth in rows for name in truth})
    largest = {name: max(truth.get(name, 0) for _, truth in rows) for name in classes}
    table = np.zeros((len(rows), 5 + 3 * len(classes)))  # n, exact, unchanged, alarms, unreadable; n, |e|, e^2 a class
    for i, (said, truth) in enumerate(rows):
        errors = []
        for name, true in truth.items():
            worst = max(true, largest[name] - true, 1)
            error = worst if said is None else abs(said.get(name, 0) - true)
            place = 5 + 3 * classes.index(name)
            table[i, place : place + 3] = 1, error, error**2
            errors.append(error)
        exact = said is not None and not any(errors)
        unchanged = not any(truth.values())
        table[i, :5] = 1, exact, unchanged, unchanged and (said is None or any(said.values())), said is None

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n, exact, unchanged, alarms, failed = np.moveaxis(sums[..., :5], -1, 0)
        found = {"exact": ratio(exact, n), "false_alarm": ratio(alarms, unchanged)}
        for i, name in enumerate(classes):
            own, error, square = np.moveaxis(sums[..., 5 + 3 * i : 8 + 3 * i], -1, 0)
            found |= {f"mae/{name}": ratio(error, own), f"rmse/{name}": np.sqrt(ratio(square, own))}
        return {**found, "n": n, "n/false_alarm": unchanged, "parse_failures": failed}

    return Tally(rows=table, finish=finish)
