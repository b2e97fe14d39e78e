"""Drawing on every core."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from rsmoe.errors import UserError

Asked = TypeVar("Asked")
"""Type of what is asked of a worker."""
Made = TypeVar("Made")
"""Type of what a worker gives back."""

MOST = 16
"""Processes: a container may own fewer cores than it sees."""


def on_every_core(make: Callable[[Asked], Made], asked: Sequence[Asked]) -> list[Made]:
    """``[make(a) for a in asked]``, by as many processes as this one may use cores; what they raise is raised.

    One thing is made right here, and so is everything where processes cannot be forked safely (other systems than
    Linux) or may have no children (a loader's).

    Args:
        make: a function that can be pickled: of a module, or a `functools.partial` of one.

    Raises:
        UserError: a process was killed.
    """
    if sys.platform != "linux" or multiprocessing.current_process().daemon:
        return [make(one) for one in asked]
    workers = min(len(os.sched_getaffinity(0)), len(asked), MOST)
    if workers < 2:
        return [make(one) for one in asked]
    fork = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(workers, mp_context=fork, initializer=_end_with_parent) as pool:
            return list(pool.map(make, asked))
    except BrokenProcessPool as error:
        raise UserError("a process that draws scenes was killed, perhaps for lack of memory; start again") from error


def _end_with_parent() -> None:
    """A worker would wait for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
