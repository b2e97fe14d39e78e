"""Accuracy of answers to questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.answers.normalise import Same, exact, normalise, readable
from rsmoe.metrics.row_metric import RowMetric
from rsmoe.metrics.tally import Tally, ratio

Kinds = str | Sequence[str]
"""Type of a question; "" becomes "other". Several types: it counts in each of them, and once in ``overall``."""


class VQA(RowMetric):
    """Accuracy per type of question, and both averages.

    An answer is right when it is the same as one of the references, whole against whole: never by inclusion, so an
    empty answer or a part of one is wrong. What cannot be read (an empty text; neither yes nor no, or no number, where
    that was asked for) is wrong, stays in the denominator, and is counted in ``parse_failures``.

    Args:
        same: comparison of normalised answers, `answers.exact` or `answers.rsvqa`.
        kwargs: of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, *, same: Same = exact, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._same = same

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]], kinds: Sequence[Kinds]) -> None:
        """Adds one answer, its references and its type, or types, per question."""
        self.append(
            accuracy_row(kind, *judge(text, texts, kind, self._same))
            for text, texts, kind in zip(predictions, references, kinds, strict=True)
        )

    def compute(self) -> dict[str, float]:
        """The numbers of `accuracy_tally`, on the scale 0 to 1; raises ValueError when no question was added."""
        return accuracy_tally(self.rows()).values()


def judge(prediction: str, references: Sequence[str], kind: Kinds, same: Same) -> tuple[bool, bool]:
    """(right, unreadable) of one answer; texts as they were written."""
    answer, right = normalise(prediction), [normalise(t) for t in references]
    kinds = (kind,) if isinstance(kind, str) else kind
    hit = any(bool(answer) and bool(r) and same(answer, r, k) for r in right for k in kinds)
    return hit, not answer or not any(readable(answer, r) for r in right)


def accuracy_row(kind: Kinds, right: bool, failed: bool) -> list[Any]:
    """One question, as `accuracy_tally` reads it."""
    kinds = [kind] if isinstance(kind, str) else sorted(set(kind))
    return [[k or "other" for k in kinds], int(right), int(failed)]


def accuracy_tally(rows: Sequence[list[Any]]) -> Tally:
    """Accuracies of rows from `accuracy_row`.

    Numbers: one accuracy per type under its name; ``average`` (over types: what RSVQA tables call average accuracy),
    ``overall`` (over questions); ``n`` and ``parse_failures``, and the same per type as ``n/<type>``.
    """
    if not rows:
        raise ValueError("no question was added before compute()")
    kinds = sorted({kind for own, _, _ in rows for kind in own})
    place = {kind: i for i, kind in enumerate(kinds, start=1)}
    table = np.zeros((len(rows), 1 + len(kinds), 3))  # in all and per type: questions, right, unreadable
    for i, (own, right, failed) in enumerate(rows):
        table[i, [0, *(place[kind] for kind in own)]] = 1, right, failed

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n, right, failed = np.moveaxis(sums.reshape(*sums.shape[:-1], 1 + len(kinds), 3), -1, 0)
        accuracy = ratio(right, n)
        return {
            **{kind: accuracy[..., i] for kind, i in place.items()},
            "average": np.nanmean(accuracy[..., 1:], axis=-1),
            "overall": accuracy[..., 0],
            "n": n[..., 0],
            "parse_failures": failed[..., 0],
            **{f"n/{kind}": n[..., i] for kind, i in place.items()},
            **{f"parse_failures/{kind}": failed[..., i] for kind, i in place.items()},
        }

    return Tally(rows=table.reshape(len(rows), -1), finish=finish)
