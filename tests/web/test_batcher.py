"""Which requests share a pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from rsmoe.evaluation.assistant import Assistant
from rsmoe.web.batcher import Batcher
from rsmoe.web.counters import Counters


@dataclass(frozen=True)
class Job:
    number: int
    kind: tuple[object, ...] = ("a",)
    reply: Future[int] = field(default_factory=Future)

    @staticmethod
    def together(model: Any, jobs: Sequence[Job], *, stream: bool) -> list[int]:
        model(jobs)
        return [job.number for job in jobs]


def batcher(passes: list[int], *, threads: int = 1, before: Any = None) -> Batcher:
    def model(jobs: Sequence[Job]) -> None:
        passes.append(len(jobs))
        if before is not None:
            before()

    return Batcher(
        model=cast(Assistant, model), window_s=0.15, size=4, counters=Counters(), threads=threads
    )  # fmt: skip


def test_clients_of_the_pass_before_are_waited_for() -> None:
    passes: list[int] = []
    desk = batcher(passes)
    first = [desk.submit(Job(number)) for number in range(3)]
    assert [reply.result(10) for reply in first] == [0, 1, 2] and passes == [3]
    again = []
    for number in range(3):  # each later than the window after the one before
        again.append(desk.submit(Job(number)))
        time.sleep(0.25)
    assert [reply.result(10) for reply in again] == [0, 1, 2] and passes == [3, 3]
    desk.close()


def test_passes_hold_one_kind_and_no_more_than_fit() -> None:
    passes: list[int] = []
    desk = batcher(passes)
    jobs = [Job(number, kind=("ab"[number % 2],)) for number in range(10)]
    replies = [desk.submit(job) for job in jobs]
    assert [reply.result(10) for reply in replies] == list(range(10))
    assert sum(passes) == 10 and max(passes) <= 4 and len(passes) == 4
    desk.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_pass_at_a_time(threads: int) -> None:
    passes: list[int] = []
    meet = threading.Barrier(threads)
    desk = batcher(passes, threads=threads, before=lambda: meet.wait(20))
    replies = [desk.submit(Job(number, kind=(number,))) for number in range(3)]
    assert sorted(reply.result(30) for reply in replies) == [0, 1, 2] and passes == [1, 1, 1]
    desk.close()
