"""Drawing by several processes: the same as by one, errors come through, nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rsmoe
from rsmoe.errors import UserError
from rsmoe.scenes.drawing import on_every_core

ROOT = Path(rsmoe.__file__).parents[1]


def square(n: int) -> tuple[int, int]:
    return n * n, os.getpid()


def refuse(n: int) -> int:
    if n == 3:
        raise UserError(f"no {n}")
    return n


def die(n: int) -> int:
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.mark.usefixtures("two_cores")
def test_things_come_in_the_order_that_they_were_asked_for() -> None:
    made = on_every_core(square, range(20))
    assert [n for n, _ in made] == [n * n for n in range(20)]
    assert os.getpid() not in {pid for _, pid in made}
    assert on_every_core(square, [7]) == [(49, os.getpid())] and on_every_core(square, []) == []


@pytest.mark.usefixtures("two_cores")
def test_errors_come_through() -> None:
    with pytest.raises(UserError, match="no 3"):
        on_every_core(refuse, range(5))
    with pytest.raises(UserError, match="was killed, perhaps for lack of memory"):
        on_every_core(die, range(5))


def test_other_systems_draw_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert {pid for _, pid in on_every_core(square, range(5))} == {os.getpid()}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_nobody_is_left_behind_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "draw.py"
    script.write_text(
        "import os, time\n"
        "from rsmoe.scenes.drawing import on_every_core\n"
        "os.sched_getaffinity = lambda _: {0, 1}\n"
        "def wait(n):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"  # in one piece: two workers write at once
        "    time.sleep(60)\n"
        "on_every_core(wait, range(4))\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=env)
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.terminate()
    parent.wait()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
