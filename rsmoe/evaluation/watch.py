"""How far a long piece of work is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_INTERVAL_S = 15.0


@contextmanager
def watched(title: str, total: int, console: Console | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, a plain line every 15 seconds elsewhere (log file, SLURM); None shows nothing.

    Args:
        title: what is done, and of what: "map of changes, tiles".

    Yields:
        a function to call with the number of pieces that were finished since the last call.
    """
    if console is None:
        yield lambda pieces: None
    elif console.is_interactive or console.is_jupyter:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda pieces: bar.advance(task, pieces)
    else:
        started = shown = time.monotonic()
        done = 0

        def told(pieces: int) -> None:
            nonlocal done, shown
            done += pieces
            now = time.monotonic()
            if now - shown >= _INTERVAL_S:
                shown = now
                left = (now - started) * (total - done) / max(1, done)
                line = f"{title}: {done:,} of {total:,}, about {max(1, round(left / 60))} min left"
                console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield told
