"""Drawing on every core."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Asked = TypeVar("Asked")
Made = TypeVar("Made")


def on_every_core(make: Callable[[Asked], Made], asked: Sequence[Asked]) -> list[Made]:
    """``[make(a) for a in asked]``, by as many processes as this one may use cores; what they raise is raised.

    One thing is made right here, and so is everything in a process that may have no children, such as a loader's.

    Args:
        make: a function that can be pickled: of a module, or a `functools.partial` of one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(asked))
    if workers < 2 or multiprocessing.current_process().daemon:
        return [make(one) for one in asked]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(make, asked))
