"""Runs that are killed at any moment, again and again, end as the run that nobody touched."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.killed_runs import STAGES, Moment, Training, differences, result
from support.reliability import LONG

KILL, INT, TERM = signal.SIGKILL, signal.SIGINT, signal.SIGTERM
ONE = [[KILL] * 4 + [INT, TERM]] * 10 if LONG else [[KILL, KILL, INT, KILL, TERM, KILL]]
TWO = [[KILL] * 2] * 5 if LONG else []  # two at a time take a port that another test may have taken meanwhile
"""The signals of each chain of runs; a chain begins with a new run and goes on until one completes."""
SEED = int(os.environ.get("RSMOE_SOAK_SEED", random.SystemRandom().randrange(2**32) if LONG else 0))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc"),
]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[dict[str, Any], float]]:
    """What a run of so many processes comes to that nobody touches, and its seconds from the first checkpoint on."""

    @cache
    def made(processes: int) -> tuple[dict[str, Any], float]:
        seconds = 0.0
        for attempt in ("cold", "warm") if processes == 1 else ("cold",):  # the first one draws the scenes
            run = Training(tmp_path_factory.mktemp(attempt) / "run", processes=processes)
            while run.code is None and not any(f.endswith(".ckpt") for f in run.checkpoints):
                time.sleep(0.01)
            first = time.monotonic()  # before it a command of two processes imports, for most of its time
            assert run.wait() == 0, run.output
            seconds = time.monotonic() - first
        return result(run.folder), seconds

    return made


def survived(
    folder: Path, numbers: list[int], expected: dict[str, Any], *, chance: random.Random, seconds: float, processes: int
) -> list[str]:
    """Kills, continues, ..., and compares; where the signals struck."""
    struck: list[str] = []
    last: Path | None = None
    same = chance.random() < 0.5  # the continued run writes into its own folder again
    for turn, number in enumerate([*numbers, None]):
        home = folder / "run" if same else folder / f"run{turn}"
        words = [] if last is None else [f"resume={last}"]
        run = Training(home, *words, processes=processes)
        if number is None:
            code = run.wait()
            assert code == 0, run.output
            break
        moment = Moment.drawn(chance, number, seconds=seconds, after="checkpoint" if number != KILL else "")
        where = moment.strike(run)
        assert not run.left_alive(), f"{moment}: processes {run.left_alive()} are left"
        if where:
            struck.append(f"{signal.Signals(number).name} in {where}")
        elif run.code == 0:  # it ended before
            last = home
            break
        if number != KILL and where:
            told = [line for line in run.output.splitlines() if "error" in line.lower()]
            assert run.code in ((130,) if number == INT else (130, -TERM)), (moment, run.code, run.output)
            assert "Traceback" not in run.output, run.output
            assert run.code != 130 or len(told) == 1 and "interrupted" in told[0], run.output
        else:
            assert run.code in (0, -KILL), (moment, run.output)
        if any((home / "checkpoints").glob("[!.]*.ckpt")):
            last = home
    assert not differences(result(home), expected)
    files = os.listdir(home / "checkpoints")
    assert STAGES[-1] in files and not [f for f in files if f.endswith(".part")]
    return struck


@pytest.mark.parametrize(
    ("processes", "chain"), [*((1, i) for i in range(len(ONE))), *((2, i) for i in range(len(TWO)))]
)
def test_killed_anywhere_a_run_ends_as_if_nobody_had(
    processes: int,
    chain: int,
    untouched: Callable[[int], tuple[dict[str, Any], float]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    print(f"the moments again: RSMOE_SOAK_SEED={SEED}")
    expected, seconds = untouched(processes)
    struck = survived(
        tmp_path,
        (ONE if processes == 1 else TWO)[chain],
        expected,
        chance=random.Random(f"{SEED} {processes} {chain}"),
        seconds=seconds,
        processes=processes,
    )
    for where in struck:
        record_property("struck", f"{where}, {processes} process{'es' if processes > 1 else ''}")
