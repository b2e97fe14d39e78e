"""Dynamic batching: requests that come shortly after one another go through the model in one pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, Protocol, TypeVar

from rsmoe.evaluation.assistant import Assistant
from rsmoe.web.counters import Counters

Result = TypeVar("Result")
_AGAIN = 10
"""Windows that a pass waits at most for the clients of the pass before."""


class Work(Protocol[Result]):
    """What waits for the model: a request, or something to embed."""

    @property
    def kind(self) -> tuple[object, ...]:
        """Work of one kind can share a pass."""

    @property
    def reply(self) -> Future[Result]:
        """Holds the result or the error."""

    @staticmethod
    def together(model: Assistant, jobs: Sequence[Any], *, stream: bool) -> Sequence[Result]:
        """The results of work of one kind, in one pass; ``stream``: pieces of them may be told before the end."""


class Batcher:
    """The threads that ask the model.

    Args:
        model: who answers.
        window_s: how long a batch waits for another request, from the last that came.
        size: most requests of a batch.
        counters: of batches.
        threads: passes at a time. One is best where the model computes here, for a second pass would only slow it down.
    """

    def __init__(self, *, model: Assistant, window_s: float, size: int, counters: Counters, threads: int = 1) -> None:
        self.model, self.window_s, self.size, self.counters = model, window_s, size, counters
        self._waiting: list[Work[Any]] = []
        self._changed = Condition()
        self._closed = False
        self._crowd = 0
        self._threads = [Thread(target=self._run, name=f"rsmoe-model-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Work[Result]) -> Future[Result]:
        """Puts a job behind the others; ``job.reply`` holds the answer or the error."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()
        return job.reply

    def close(self) -> None:
        """Answers what waits, then ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while jobs := self._take():
            started = [job for job in jobs if job.reply.set_running_or_notify_cancel()]
            if started:
                begin = time.perf_counter()
                self._answer(started)
                self.counters.batch(len(started), time.perf_counter() - begin)
                self._crowd = len(started) + len(self._waiting)

    def _take(self) -> list[Work[Any]]:
        """The oldest job with those of its kind; [] at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                kind = self._waiting[0].kind
                self._gather(kind)
                if jobs := self._of(kind)[: self.size]:
                    taken = {id(job) for job in jobs}
                    self._waiting = [job for job in self._waiting if id(job) not in taken]
                    return jobs  # else another thread was first

    def _gather(self, kind: tuple[object, ...]) -> None:
        """Waits until a pass is full, or nothing of its kind has come for as long as the window.

        Those whom the pass before has answered may ask again: while fewer wait than there were then, a little longer.
        Without it a crowd falls into two halves, each of which waits for the pass of the other.
        """
        came, end = True, time.monotonic() + _AGAIN * self.window_s
        while not self._closed and (count := len(self._of(kind))) < self.size:
            if not came and (count >= self._crowd or time.monotonic() >= end):
                return
            came = self._changed.wait_for(lambda: self._closed or len(self._of(kind)) != count, self.window_s)

    def _of(self, kind: tuple[object, ...]) -> list[Work[Any]]:
        return [job for job in self._waiting if job.kind == kind]

    def _answer(self, jobs: Sequence[Work[Any]], *, stream: bool = True) -> None:
        try:
            replies = jobs[0].together(self.model, jobs, stream=stream)
        except Exception as error:  # the thread has to live on, and the others get their answers
            if len(jobs) == 1:
                jobs[0].reply.set_exception(error)
            else:
                for job in jobs:
                    self._answer([job], stream=False)
            return
        for job, reply in zip(jobs, replies, strict=True):
            job.reply.set_result(reply)
