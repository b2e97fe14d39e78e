"""Where something changed: sets of the nine cells of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.data.change.cells import CELLS
from rsmoe.metrics.change.targets import CHANGECHAT, said_and_true
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, overlap, ratio

_COLUMNS = 9
"""Of each class: answers, tp, fp, fn, Jaccard, whole set right, cells right, without change, false alarms."""


class ChangeCells(Metric):
    """Agreement of sets of cells, over all classes and per class.

    - ``precision``, ``recall``, ``f1``: over all cells of all pairs (micro);
    - ``jaccard``: mean over pairs; no cell against no cell is 1, for that is the right answer;
    - ``subset``: share of pairs whose cells are all right, of all classes; ``hamming``: share of cells that are wrong;
    - ``false_alarm``: of the pairs where the class did not change, the share for which a cell was named.

    An answer that cannot be read is wrong in every cell.

    Args:
        sklearn: no cell against no cell is 0, as in scikit-learn's samples-averaged Jaccard: with 70 % unchanged pairs
            a perfect answer then scores 30 %.
    """

    lower_is_better = frozenset(("hamming", "false_alarm"))

    def __init__(self, *, sklearn: bool = False) -> None:
        self._empty_jaccard = 0.0 if sklearn else 1.0
        self.protocol = Protocol(
            id="change/cells-sklearn@1" if sklearn else "change/cells@1",
            title="Cells of change, scikit-learn's Jaccard" if sklearn else "Cells of change",
            tasks=("change_vqa",),
            sentence="change/cells@1 with a Jaccard of 0 for no cell against no cell, under which a perfect answer to "
            "ChangeChat's test set has 30: to compare with published rows only."
            if sklearn
            else "Nine cells, over all classes and per class, x100: micro precision, recall, F1; Jaccard a pair, where "
            "no cell against no cell is 1; subset and Hamming; false_alarm. An unreadable answer is wrong in every "
            "cell.",
            source=CHANGECHAT,
            scorer="scikit-learn's jaccard_score(average='samples') on readable answers"
            if sklearn
            else "scikit-learn on readable answers, but Jaccard",
            tolerance="1e-9",
        )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a question."""
        rows = said_and_true(pairs, asks="location", key="change_cells")
        return cells_tally(rows, empty_jaccard=self._empty_jaccard)


def cells_tally(rows: Sequence[list[Any]], *, empty_jaccard: float = 1.0) -> Tally:
    """Numbers of `ChangeCells` from rows of [cells by class or None, true cells by class]."""
    classes = sorted({name for _, truth in rows for name in truth})
    table = np.zeros((len(rows), 3 + _COLUMNS * len(classes)))  # n, all right, unreadable
    for i, (said, truth) in enumerate(rows):
        right = True
        for name, cells in truth.items():
            true = set(cells)
            given = set(CELLS) - true if said is None else set(said.get(name, ()))
            both, either = len(given & true), len(given | true)
            place = 3 + _COLUMNS * classes.index(name)
            right &= given == true
            table[i, place : place + _COLUMNS] = (
                *(1, both, len(given - true), len(true - given)),
                *(both / either if either else empty_jaccard, given == true, len(given ^ true)),
                *(not true, not true and bool(given)),
            )
        table[i, :3] = 1, right, said is None

    def numbers(columns: np.ndarray) -> dict[str, np.ndarray]:
        n, tp, fp, fn, jaccard, right, wrong, unchanged, alarms = np.moveaxis(columns, -1, 0)
        return {
            **overlap(tp, fp, fn),
            "jaccard": ratio(jaccard, n),
            "subset": ratio(right, n),
            "hamming": ratio(wrong, n * len(CELLS)),
            "false_alarm": ratio(alarms, unchanged),
        }

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n, right, failed = np.moveaxis(sums[..., :3], -1, 0)
        columns = sums[..., 3:].reshape(*sums.shape[:-1], len(classes), _COLUMNS)
        found = {**numbers(columns.sum(axis=-2)), "subset": ratio(right, n), "n": n, "parse_failures": failed}
        for i, name in enumerate(classes):
            found |= {f"{key}/{name}": value for key, value in numbers(columns[..., i, :]).items()}
        return found

    return Tally(rows=table, finish=finish)
