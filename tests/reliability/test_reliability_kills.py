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
from support.killed_runs import PORT_TAKEN, STAGES, Moment, Training, differences, result
from support.reliability import LONG

KILL, INT, TERM = signal.SIGKILL, signal.SIGINT, signal.SIGTERM
ONE = [[KILL] * 4 + [INT, TERM]] * 8 if LONG else [[KILL, INT, TERM]]
TWO = [[KILL] * 2] * 5 if LONG else [[KILL]]
"""The signals of each chain of runs. After each a run is resumed: one that comes too late is sent again."""
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
        run = Training(tmp_path_factory.mktemp("untouched") / "run", processes=processes)
        run.wait_for_checkpoint()
        first = time.monotonic()  # before it a command imports and draws, for most of its time
        assert run.wait() == 0, run.output
        return result(run.folder), time.monotonic() - first

    return made


def survived(
    folder: Path,
    numbers: list[int],
    expected: dict[str, Any],
    *,
    chance: random.Random,
    seconds: float,
    processes: int,
    record: Callable[[str, object], None],
) -> None:
    """Kills, continues, ..., and compares; records where each signal struck, and which came too late."""
    what = f"{processes} process{'es' if processes > 1 else ''}"
    left = list(numbers)
    missed, turn = 0, 0
    last: Path | None = None
    same = chance.random() < 0.5  # the continued run writes into its own folder again
    while True:
        turn += 1
        home = folder / f"run{missed}" if same else folder / f"run{missed}.{turn}"
        words = [] if last is None else [f"resume={last}"]
        run = Training(home, *words, processes=processes)
        number = left[0] if left else None
        where = ""
        if number is not None:
            moment = Moment.drawn(
                chance, number, seconds=seconds * 0.8**missed, after="checkpoint" if number != KILL else ""
            )
            where = moment.strike(run)
        code = run.wait()
        if code not in (0, -KILL) and PORT_TAKEN in run.output:
            continue  # nothing has begun
        if not where:  # it ended by itself
            assert code == 0, run.output
            assert not differences(result(home), expected)
            files = os.listdir(home / "checkpoints")
            assert STAGES[-1] in files and not [f for f in files if f.endswith(".part")]
            if number is None:
                return
            missed, last = missed + 1, None
            record("missed", f"{signal.Signals(number).name}, {what}")
            assert missed <= 4 * len(numbers), f"{missed} signals came after the end of a run of {seconds:.1f} s"
            continue
        record("struck", f"{signal.Signals(number).name} in {where}, {what}")
        assert not run.left_alive(), f"{moment}: processes {run.left_alive()} are left"
        if number == KILL:
            assert code == -KILL, (moment, run.output)
        else:
            lines = [line for line in run.output.splitlines() if "error" in line.lower()]
            assert code in ((130,) if number == INT else (130, -TERM)), (moment, code, run.output)
            assert "Traceback" not in run.output, run.output
            assert code != 130 or len(lines) == 1 and "interrupted" in lines[0], run.output
        if any((home / "checkpoints").glob("[!.]*.ckpt")):
            last = home
        if last is not None:
            left.pop(0)
            record("resumed", what)


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
    survived(
        tmp_path,
        (ONE if processes == 1 else TWO)[chain],
        expected,
        chance=random.Random(f"{SEED} {processes} {chain}"),
        seconds=seconds,
        processes=processes,
        record=record_property,
    )
