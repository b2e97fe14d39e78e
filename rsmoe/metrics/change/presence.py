"""Whether something changed: answers about pairs of dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.change.targets import CHANGECHAT, said_and_true
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, overlap, ratio


class ChangePresence(Metric):
    """accuracy, precision, recall and f1 of "changed", and ``false_alarm``, the share of unchanged pairs not called so.

    An answer that cannot be read is wrong: a miss on a changed pair, a false alarm on an unchanged one.
    """

    protocol = Protocol(
        id="change/presence@1",
        title="Presence of change",
        tasks=("change_vqa",),
        sentence="x100: accuracy, precision, recall, F1 of yes (changed), and false_alarm, the share of unchanged "
        "pairs not called so. An answer that is neither yes nor no is wrong.",
        source=CHANGECHAT,
        scorer="scikit-learn on readable answers",
        tolerance="1e-9",
    )
    lower_is_better = frozenset(("false_alarm",))

    def tally(self, pairs: Pairs) -> Tally:
        """One row a question."""
        return presence_tally(said_and_true(pairs, asks="presence", key="changed"))


def presence_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `ChangePresence` from rows of [said or None, truth]."""
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
