"""Where something changed: sets of the nine cells of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rsmoe.data.change.cells import CELLS
from rsmoe.metrics.row_metric import RowMetric
from rsmoe.metrics.tally import Tally, overlap, ratio

Cells = Mapping[str, Iterable[str]]
"""Class -> names of cells, of `rsmoe.data.change.cells.CELLS`."""

_COLUMNS = 9
"""Of each class: answers, tp, fp, fn, Jaccard, whole set right, cells right, without change, false alarms."""


class ChangeCells(RowMetric):
    """Agreement of sets of cells, over all classes and per class.

    - ``precision``, ``recall``, ``f1``: over all cells of all pairs (micro);
    - ``jaccard``: mean over pairs; no cell against no cell is 1, for that is the right answer;
    - ``subset``: share of pairs whose cells are all right, of all classes; ``hamming``: share of cells that are wrong;
    - ``false_alarm``: of the pairs where the class did not change, the share for which a cell was named.

    An answer that cannot be read is wrong in every cell.

    Args:
        empty_jaccard: value of no cell against no cell. 0 is what scikit-learn's samples-averaged Jaccard gives: with
            70 % unchanged pairs a perfect answer then scores 30 %. A number of that mode has its own protocol.
        kwargs: of ``torchmetrics.Metric``.
    """

    def __init__(self, *, empty_jaccard: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.empty_jaccard = empty_jaccard

    def update(self, predictions: Sequence[Cells | None], targets: Sequence[Cells]) -> None:
        """Adds the cells that were said (None: could not be read) and the true ones per pair.

        Raises:
            ValueError: for a name that is no cell.
        """
        self.append([_lists(said), _lists(truth)] for said, truth in zip(predictions, targets, strict=True))

    def compute(self) -> dict[str, float]:
        """The numbers on the scale 0 to 1, n, parse_failures; raises ValueError when no pair was added."""
        return cells_tally(self.rows(), empty_jaccard=self.empty_jaccard).values()


def cells_tally(rows: Sequence[list[Any]], *, empty_jaccard: float = 1.0) -> Tally:
    """Numbers of `ChangeCells` from rows of [cells by class or None, true cells by class]."""
    if not rows:
        raise ValueError("no pair was added before compute()")
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


def _lists(cells: Cells | None) -> dict[str, list[str]] | None:
    if cells is None:
        return None
    named = {name: sorted(set(own)) for name, own in cells.items()}
    for own in named.values():
        if unknown := set(own) - set(CELLS):
            raise ValueError(f"cells are {', '.join(CELLS)}, not {', '.join(sorted(unknown))}")
    return named
