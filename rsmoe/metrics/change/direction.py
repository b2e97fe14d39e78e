"""Captions on swapped dates: what appeared has vanished then."""

from __future__ import annotations

import re

import numpy as np

from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio

APPEARED = frozenset("appear appears appeared built constructed added new planted risen flooded covers".split())
VANISHED = frozenset("removed demolished disappear disappears disappeared vanished vanish cleared gone receded".split())

SWAPPED = "swapped"
"""Key of ``Sample.meta``: the id of the sample that asks the same of the dates in their order."""


def direction(text: str) -> int:
    """1: a caption tells of what appeared; -1: of what vanished; 0: of neither, or of both alike."""
    words = re.findall(r"[a-z]+", text.lower())
    balance = sum(word in APPEARED for word in words) - sum(word in VANISHED for word in words)
    return (balance > 0) - (balance < 0)


class ChangeDirection(Metric):
    """Whether captions have the direction of their references, and turn it round with the dates.

    Scored are pairs of requests, on the dates in their order and swapped (`SWAPPED`), whose references all have one
    `direction`.

    - ``right``: share of captions with the direction of the references; ``right_swapped``: of captions on swapped
      dates with the opposite one;
    - ``flipped``, ``kept``: of the captions with a direction, the share whose caption on swapped dates has the opposite
      one, the same one.
    """

    protocol = Protocol(
        id="change/direction@1",
        title="Direction of change",
        tasks=("change_caption",),
        sentence="x100: changed pairs whose caption tells, like its references, of what appeared or of what vanished; "
        "the same on swapped dates, which must turn it round; answers that turn. Words of "
        "`rsmoe.metrics.change.direction`.",
    )

    def tally(self, pairs: Pairs) -> Tally | None:
        """One row a pair of requests; None without any."""
        swapped = {s.meta[SWAPPED]: direction(p.text) for s, p in pairs if SWAPPED in s.meta}
        rows = []
        for sample, prediction in pairs:
            ways = {direction(text) for text in sample.responses}
            if sample.id in swapped and len(ways) == 1 and 0 not in ways:
                true, said, turned = ways.pop(), direction(prediction.text), swapped[sample.id]
                told = said != 0
                rows.append([1, said == true, turned == -true, told, told and turned == -said, told and turned == said])
        return Tally(rows=np.array(rows, dtype=np.float64), finish=_finish) if rows else None


def _finish(sums: np.ndarray) -> dict[str, np.ndarray]:
    n, right, right_swapped, told, flipped, kept = np.moveaxis(sums, -1, 0)
    return {
        "right": ratio(right, n),
        "right_swapped": ratio(right_swapped, n),
        "flipped": ratio(flipped, told, empty=0.0),
        "kept": ratio(kept, told, empty=0.0),
        "n": n,
    }
