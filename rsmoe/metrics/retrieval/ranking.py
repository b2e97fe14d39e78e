"""Rankings that somebody else computed: was something relevant among the first K?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.retrieval.recall import RANKS
from rsmoe.metrics.tally import Tally, ratio


class Ranking(Metric):
    """Recalls of rankings as they are given, and their mean reciprocal rank."""

    protocol = Protocol(
        id="retrieval/ranking@1",
        title="Recall of given rankings",
        tasks=("retrieval",),
        sentence="Rankings as they are given, one a query: r1, r5, r10 (something relevant among the first K), their "
        "mean mr, and the mean reciprocal rank, x100.",
        fields=("ranking",),
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a query; ``Sample.responses`` are the ids that are relevant."""
        return ranking_tally([ranking_row(p.ranking, s.responses) for s, p in pairs])


def ranking_row(ranking: Sequence[str], relevant: Sequence[str]) -> list[Any]:
    """One query, as `ranking_tally` reads it: hit at each of `RANKS`, reciprocal rank, nothing retrieved.

    Args:
        ranking: ids, the best first.
        relevant: ids that are right; the first of them in the ranking counts.

    Raises:
        ValueError: an id occurs twice in the ranking.
    """
    if len(set(ranking)) < len(ranking):
        raise ValueError("a ranking names an item twice")
    places = [i for i, item in enumerate(ranking) if item in set(relevant)]
    first = places[0] if places else None
    return [
        *(int(first is not None and first < k) for k in RANKS),
        0.0 if first is None else 1 / (first + 1),
        not ranking,
    ]


def ranking_tally(rows: Sequence[list[Any]]) -> Tally:
    """r1, r5, r10, their mean mr, and mrr (mean reciprocal rank), from 0 to 1, of rows from `ranking_row`."""

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n = sums[..., -1]
        recalls = {f"r{k}": ratio(sums[..., i], n) for i, k in enumerate(RANKS)}
        mean = np.mean(list(recalls.values()), axis=0)
        return {**recalls, "mr": mean, "mrr": ratio(sums[..., -3], n), "n": n, "parse_failures": sums[..., -2]}

    return Tally(rows=np.array([[*row, 1] for row in rows], dtype=np.float64), finish=finish)
