"""Accuracy of answers to questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.data.sample import Sample
from rsmoe.metrics.answers.normalise import Same, exact, normalise, readable, rsvqa
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio

_RSVQA = "Lobry et al., RSVQA, IEEE TGRS 2020, doi:10.1109/TGRS.2020.2988782"

Kinds = str | Sequence[str]
"""Type of a question; "" becomes "other". Several types: it counts in each of them, and once in ``overall``."""


class VQA(Metric):
    """Accuracy per type of question, and both averages; see `accuracy_tally`.

    An answer is right when it is the same as one of the references, whole against whole: never by inclusion, so an
    empty answer or a part of one is wrong. What cannot be read (an empty text; neither yes nor no, or no number, where
    that was asked for) is wrong, stays in the denominator, and is counted in ``parse_failures``.

    Args:
        bins: counts and areas are the same in one bin of RSVQA, `rsmoe.metrics.answers.normalise.rsvqa`.
    """

    def __init__(self, *, bins: bool = False) -> None:
        self._same: Same = rsvqa if bins else exact
        numbers = ", and counts and areas by RSVQA's bins (0, 1-10, 11-100, 101-1000, above)" if bins else ""
        self.protocol = Protocol(
            id="vqa/rsvqa@1" if bins else "vqa/exact@1",
            title="VQA accuracy in RSVQA's bins" if bins else "VQA accuracy",
            tasks=("vqa",) if bins else ("vqa", "change_vqa"),
            sentence="Accuracy x100 per type of question, its mean over types (average) and over questions (overall). "
            "The whole answer must be the same after lower-casing, without punctuation and a leading article, with "
            f"digits for number words{numbers}; empty and unreadable answers are wrong.",
            source=_RSVQA if bins else f"ours; the average over types is that of {_RSVQA}",
        )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a question."""
        kinds = [question_types(sample) for sample, _ in pairs]
        judged = [judge(p.text, s.responses, kind, self._same) for (s, p), kind in zip(pairs, kinds, strict=True)]
        return accuracy_tally([accuracy_row(kind, *both) for kind, both in zip(kinds, judged, strict=True)])


def question_types(sample: Sample) -> Kinds:
    """Types of a question; LHRS-Bench counts one question in several."""
    return tuple(sample.meta["kinds"]) if sample.meta.get("kinds") else sample.kind


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
        raise ValueError("no question was added")
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
