"""Answers to many samples in one folder, kept as they come, so that a job that stopped anywhere goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.data.files.json_text import read_json
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.line_log import LineLog
from rsmoe.evaluation.prediction_lines import asked, from_row, to_line
from rsmoe.metrics.prediction import Prediction


class AnswerJob:
    """The answers of one checkpoint to one benchmark.

    ``<folder>/job.json`` says what the answers depend on, ``<folder>/answers/<rank>.jsonl`` holds one line a sample. A
    batch is one write at the end of the file of its rank (`LineLog`): a killed job loses the batch it was at. Rank r
    has batches r, r + world, ... of the samples, whatever has been answered, so that ranks agree without talking; they
    may start, stop and change in number.

    Args:
        folder: made where it is missing; on several machines one that all of them see.
        facts: what the answers depend on (checkpoint, decoding, size of the pictures ...), plain json.

    Raises:
        UserError: the folder holds answers that came about otherwise; what differs is named.
    """

    def __init__(self, folder: Path, *, facts: Mapping[str, Any], rank: int = 0, world: int = 1) -> None:
        self.folder, self._rank, self._world = folder, rank, world
        (folder / "answers").mkdir(parents=True, exist_ok=True)
        self._own = LineLog(folder / "answers" / f"{rank:04d}.jsonl")
        self._agree(json.loads(json.dumps(facts)))

    def batches(self, samples: Sequence[Sample], size: int) -> list[list[int]]:
        """Places of the samples that this rank still has to answer, by batch.

        A batch of which an answer is missing is answered again as a whole: the answers of an interrupted job are those
        of one that was not.

        Raises:
            UserError: an answer is there to a sample that has changed since.
        """
        self._done = {prediction.id for prediction in self._read(samples)}
        chunks = [list(range(i, min(i + size, len(samples)))) for i in range(0, len(samples), size)]
        return [c for c in chunks[self._rank :: self._world] if any(samples[i].id not in self._done for i in c)]

    def append(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> None:
        """Keeps the answers to one of the `batches`, those that are not there yet; on disk when this returns."""
        self._own.append([to_line(p, s) for p, s in zip(predictions, samples, strict=True) if p.id not in self._done])

    def predictions(self, samples: Sequence[Sample]) -> list[Prediction]:
        """The answers of all ranks to these samples, in their order.

        Raises:
            UserError: answers are missing (counted, five named), or are to samples that have changed since.
        """
        found = {p.id: p for p in self._read(samples)}
        missing = [s.id for s in samples if s.id not in found]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(samples)} samples have no answer in {self.folder}: {', '.join(missing[:5])}. "
                "Start the same command again: it goes on with these"
            )
        return [found[s.id] for s in samples]

    def _read(self, samples: Sequence[Sample]) -> Iterator[Prediction]:
        """Every answer that is there to one of the samples."""
        known = {s.id: s for s in samples}
        for path in sorted((self.folder / "answers").glob("*.jsonl")):
            for row in LineLog(path).rows(advice="Remove it, and start again"):
                if row["id"] not in known:
                    continue
                if row["asked"] != asked(known[row["id"]]):
                    raise UserError(
                        f"{path} answers sample {row['id']!r} as it was asked before: its request or its references "
                        f"have changed since. Give another folder (out=...), or remove {self.folder}"
                    )
                yield from_row(row)

    def _agree(self, facts: dict[str, Any]) -> None:
        """Writes ``job.json``, or compares with the one that is there; of ranks that start together one writes."""
        path = self.folder / "job.json"
        if not path.exists():
            part = self.folder / f".job.{self._rank:04d}.part"
            part.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
            try:
                os.link(part, path)  # whole, and only where there is none
            except FileExistsError:
                pass
            finally:
                part.unlink()
        kept = read_json(path)
        changed = [
            f"{key} was {kept.get(key)!r} and is {facts.get(key)!r}"
            for key in sorted({*kept, *facts})
            if kept.get(key) != facts.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.folder} holds answers that came about otherwise: {'; '.join(changed)}. "
                f"Give another folder (out=...), or remove {self.folder}"
            )
