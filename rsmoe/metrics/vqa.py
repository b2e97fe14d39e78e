"""Accuracy of answers to questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rsmoe.metrics.answers import Same, exact, normalise, readable
from rsmoe.metrics.rows import RowMetric


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

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]], kinds: Sequence[str]) -> None:
        """Adds one answer, its references and its type of question ("" becomes "other") per question."""
        tally: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for text, texts, kind in zip(predictions, references, kinds, strict=True):
            answer, right = normalise(text), [normalise(t) for t in texts]
            row = tally[kind or "other"]
            row[0] += 1
            row[1] += any(bool(answer) and bool(r) and self._same(answer, r, kind) for r in right)
            row[2] += not answer or not any(readable(answer, r) for r in right)
        self.append([kind, *row] for kind, row in tally.items())

    def compute(self) -> dict[str, float]:
        """Accuracies on the scale 0 to 1.

        Returns:
            one value per type under its name; ``average`` (over types: what RSVQA tables call average accuracy),
            ``overall`` (over questions); ``n`` and ``parse_failures``, and the same per type as ``n/<type>``.

        Raises:
            ValueError: no question was added.
        """
        tally: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for kind, *row in self.rows():
            tally[kind] = [a + b for a, b in zip(tally[kind], row, strict=True)]
        if not tally:
            raise ValueError("no question was added before compute()")
        accuracy = {kind: right / n for kind, (n, right, _) in sorted(tally.items())}
        n, right, failures = (sum(column) for column in zip(*tally.values(), strict=True))
        return {
            **accuracy,
            "average": sum(accuracy.values()) / len(accuracy),
            "overall": right / n,
            "n": float(n),
            "parse_failures": float(failures),
            **{f"n/{kind}": float(row[0]) for kind, row in tally.items()},
            **{f"parse_failures/{kind}": float(row[2]) for kind, row in tally.items()},
        }
