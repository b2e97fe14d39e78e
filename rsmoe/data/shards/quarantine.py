"""Samples that cannot be read: listed with the reason and counted; too many of them end the run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rsmoe.errors import UserError

_AT_LEAST = 1000
"""Draws that a share is a share of, until there are more: one bad sample among the first ten says little."""


class Quarantine:
    """Counts good and bad samples of one process.

    Args:
        max_bad_fraction: the bad may be so many of the drawn, of 1000 at least; 0 ends the run at the first.
        path: a jsonl that gets a line for each bad sample ("source", "id", "shard", "reason"), of all processes; None
            keeps them in memory alone.

    Attributes:
        shards: bad samples of each shard.
        rows: the first 100 bad samples, as in the file.
    """

    def __init__(self, *, max_bad_fraction: float = 0.01, path: Path | None = None) -> None:
        if not 0 <= max_bad_fraction <= 1:
            raise UserError(f"max_bad_fraction={max_bad_fraction}: expected a share from 0 to 1")
        self.max_bad_fraction, self.path = max_bad_fraction, path
        self.drawn = self.bad = 0
        self.shards: Counter[str] = Counter()
        self.rows: list[dict[str, str]] = []

    def good(self, count: int = 1) -> None:
        """Counts samples that could be read."""
        self.drawn += count

    def add(self, *, source: str, identity: str, shard: str, reason: str) -> None:
        """Sets a sample apart; `UserError` naming the shards, when there are too many."""
        self.drawn += 1
        self.bad += 1
        self.shards[shard] += 1
        row = {"source": source, "id": identity, "shard": shard, "reason": reason}
        if len(self.rows) < 100:
            self.rows.append(row)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:  # one short write: lines of processes do not mix
                file.write(json.dumps(row) + "\n")
        if self.bad > self.max_bad_fraction * max(self.drawn, _AT_LEAST):
            worst = ", ".join(f"{name} ({count})" for name, count in self.shards.most_common(3))
            raise UserError(
                f"{self.bad} of {self.drawn} samples cannot be read, in {worst}; the last: {reason}. Mend them, "
                f"or allow more than max_bad_fraction={self.max_bad_fraction:g}"
            )
