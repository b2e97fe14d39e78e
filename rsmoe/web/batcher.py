"""Dynamic batching: requests that come within a short window go through the model in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

from rsmoe.cli.terminal import printable
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.request import Request
from rsmoe.generation.decoding import OnToken
from rsmoe.geo.dates import Dates
from rsmoe.web.counters import Counters


@dataclass(frozen=True, kw_only=True)
class Job:
    """One request, and where its answer goes."""

    request: Request
    opened: Dates
    beams: int
    max_new: int
    tile: int | None = -1
    """As in `Assistant.answer`."""
    on_text: Callable[[str], None] | None = None
    """Called from the model's thread with every new piece of a greedy answer."""
    reply: Future[Reply] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[int, int, int | None, int]:
        """Jobs of one kind can share a pass: what a model may refuse, series of dates, is not mixed with the rest."""
        return self.beams, self.max_new, self.tile, max(2, len(self.request.pictures))


class Batcher:
    """One thread that owns the model.

    Args:
        model: who answers.
        window_s: how long the first of a batch waits for others.
        size: most requests of a batch.
        counters: of batches.
    """

    def __init__(self, *, model: Assistant, window_s: float, size: int, counters: Counters) -> None:
        self.model, self.window_s, self.size, self.counters = model, window_s, size, counters
        self._waiting: list[Job] = []
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name="rsmoe-model", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[Reply]:
        """Puts a job behind the others; ``job.reply`` holds the answer or the error."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        return job.reply

    def close(self) -> None:
        """Answers what waits, then ends."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while jobs := self._take():
            started = [job for job in jobs if job.reply.set_running_or_notify_cancel()]
            if started:
                begin = time.perf_counter()
                self._answer(started)
                self.counters.batch(len(started), time.perf_counter() - begin)

    def _take(self) -> list[Job]:
        """The oldest job with those of its kind; [] at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            kind = self._waiting[0].kind
            full = lambda: self._closed or sum(job.kind == kind for job in self._waiting) >= self.size  # noqa: E731
            self._changed.wait_for(full, timeout=self.window_s)
            jobs = [job for job in self._waiting if job.kind == kind][: self.size]
            self._waiting = [job for job in self._waiting if job not in jobs]
            return jobs

    def _answer(self, jobs: Sequence[Job], *, stream: bool = True) -> None:
        try:
            replies = self.model.answer(
                [job.request for job in jobs],
                beams=jobs[0].beams, max_new=jobs[0].max_new, tile=jobs[0].tile,
                opened=[job.opened for job in jobs], on_token=self._listener(jobs) if stream else None,
            )  # fmt: skip
        except Exception as error:  # the thread has to live on, and the others get their answers
            if len(jobs) == 1:
                jobs[0].reply.set_exception(error)
            else:
                for job in jobs:
                    self._answer([job], stream=False)
            return
        for job, reply in zip(jobs, replies, strict=True):
            job.reply.set_result(reply)

    def _listener(self, jobs: Sequence[Job]) -> OnToken | None:
        if all(job.on_text is None for job in jobs):
            return None
        ids: list[list[int]] = [[] for _ in jobs]
        sent = [""] * len(jobs)

        def on_token(new: Sequence[int | None]) -> None:
            for place, (job, token) in enumerate(zip(jobs, new, strict=True)):
                if job.on_text is None or token is None:
                    continue
                ids[place].append(token)
                text = printable(self.model.run.codec.decode(ids[place]))
                if text.startswith(sent[place]) and not text.endswith("\ufffd"):  # half of a character waits
                    job.on_text(text[len(sent[place]) :])
                    sent[place] = text

        return on_token
