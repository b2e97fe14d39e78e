"""How many things changed: answers about pairs of dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.change.targets import CHANGECHAT, said_and_true
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio


class ChangeCounts(Metric):
    """``mae/<class>`` and ``rmse/<class>`` of counts, ``exact`` (every class right) and ``false_alarm``.

    ``false_alarm`` is the share of the pairs without any change for which something was counted. An answer that cannot
    be read is as wrong as one can be: for each class the count from 0 to the largest true one of the corpus that is
    furthest from the truth, by one thing at least. It is never exact, and a false alarm where nothing changed.
    """

    protocol = Protocol(
        id="change/counts@1",
        title="Counts of change",
        tasks=("change_vqa",),
        sentence="MAE and RMSE in things per class; x100: exact (all classes right), false_alarm (of pairs without "
        "change). An unreadable answer counts as the furthest count from 0 to the largest true one, off by one at "
        "least.",
        source=CHANGECHAT,
        scorer="scikit-learn on readable answers",
        tolerance="1e-9",
    )
    unscaled = frozenset(("mae", "rmse"))
    lower_is_better = frozenset(("mae", "rmse", "false_alarm"))

    def tally(self, pairs: Pairs) -> Tally:
        """One row a question."""
        return counts_tally(said_and_true(pairs, asks="count", key="change_counts"))


def counts_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `ChangeCounts` from rows of [counts or None, true counts]."""
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
