"""Trainings that are killed and continued, started as a user starts them."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from support.sizes import SMALL

WORDS = (
    "experiment=rsicap_moe",
    "corpus.captions.generated.scenes.train=34",
    "corpus.questions.generated.scenes.train=34",
    "corpus.benchmark.generated.scenes.test=4",
    *(f"stage.{name}.{word}" for name in ("perception", "dense", "experts") for word in ("steps=3", "batch_size=4")),
    "checkpoint_every=1",
    "evaluation.beams=1",
    "evaluation.max_new=4",
    "evaluation.limit=4",
    "image_size=32",
    "vision.widths=[8,16]",
    "vision.depths=[1,1]",
    "vision.stem=8",
    *SMALL,
)
STAGES = ("1-perception.ckpt", "2-dense.ckpt", "3-experts.ckpt")
MARK = "RSMOE_KILLED_RUN"
"""Environment variable by which the processes of a command are found again."""
PATIENCE = 300.0
"""Seconds for whatever is waited for on a busy machine; less than the `timeout` of a test."""
START = 200.0
"""Seconds until the first checkpoint."""
PORT_TAKEN = "EADDRINUSE"
"""In the output of a command of two processes that could not meet."""


class Training:
    """One ``python -m rsmoe.train``, into ``folder``; its output is in ``<folder>.log``.

    Args:
        folder: of the run.
        words: beside `WORDS`.
        processes: 1, or 2: Lightning starts the second from the words of the first.
    """

    def __init__(self, folder: Path, *words: str, processes: int = 1) -> None:
        self.folder, self.log, self.processes = folder, folder.with_suffix(".log"), processes
        self._stale = self._parts()
        self.started = time.monotonic()
        typed = [*WORDS, "trainer=cpu" if processes == 1 else "trainer=cpus", f"hydra.run.dir={folder}", *words]
        env = os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            MARK: str(folder),
            "MASTER_PORT": str(_free_port()),
            "PYTHONFAULTHANDLER": "1",  # where every thread was, see `stuck`
        }
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job; commands would inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.log.open("w") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "rsmoe.train", *typed], stdout=log, stderr=log, env=env, cwd=folder.parent
            )

    @property
    def code(self) -> int | None:
        """Of the exit; None while it runs."""
        return self._child.poll()

    @property
    def checkpoints(self) -> set[str]:
        """Names of what is there, with what is being written."""
        try:
            return set(os.listdir(self.folder / "checkpoints"))
        except OSError:
            return set()

    @property
    def listens(self) -> bool:
        """Whether Ctrl-C is the command's: it has loaded a library. Before that it is Python's, with a traceback."""
        try:
            return "site-packages" in Path(f"/proc/{self._child.pid}/maps").read_text()
        except OSError:  # it has ended
            return False

    @property
    def writes_checkpoint(self) -> bool:
        """Whether it is writing one, or was when it ended; a file that an earlier run left does not count."""
        return bool(self._parts() - self._stale)

    def _parts(self) -> set[tuple[str, int]]:
        """Checkpoints that are not whole: names and times of the last change."""
        found = set()
        for path in (self.folder / "checkpoints").glob(".*.part"):
            with suppress(OSError):  # it was renamed meanwhile
                found.add((path.name, path.stat().st_mtime_ns))
        return found

    def send(self, number: int) -> None:
        """A signal to the first process."""
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(self._child.pid, number)

    def wait(self) -> int:
        """The exit code."""
        until = time.monotonic() + PATIENCE
        while self.code is None:
            if time.monotonic() > until:
                self.stuck("did not end")
            time.sleep(0.01)
        return self.code

    def wait_for_checkpoint(self) -> None:
        """Returns as soon as one is there, or the run has ended."""
        until = time.monotonic() + START
        while self.code is None and not any(f.endswith(".ckpt") for f in self.checkpoints):
            if time.monotonic() > until:
                self.stuck("came to no checkpoint")
            time.sleep(0.01)

    def stuck(self, what: str) -> NoReturn:
        """Ends all processes, each with the stacks of its threads."""
        for pid in _marked(str(self.folder)):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGABRT)
        time.sleep(5)
        self.send(signal.SIGKILL)
        raise TimeoutError(f"{self.folder} {what}; its output: {self.output[-20_000:]}")

    @property
    def output(self) -> str:
        """What it printed."""
        return self.log.read_text(errors="replace")

    def left_alive(self) -> list[str]:
        """Processes of a command that are still there after a while."""
        until = time.monotonic() + PATIENCE / 2
        while (alive := _marked(str(self.folder))) and time.monotonic() < until:
            time.sleep(0.2)
        return alive


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When a run is ended: some time after something was seen.

    Args:
        number: of the signal.
        after: "start", "part": the nth file that is being written, "checkpoint": the first one, or "evaluation".
        delay: seconds from then on.
        nth: of the files that are being written.
    """

    number: int
    after: str
    delay: float
    nth: int = 1

    @classmethod
    def drawn(cls, chance: random.Random, number: int, *, seconds: float, after: str = "") -> Moment:
        """Draws one over a run that takes so many seconds from its first checkpoint on."""
        after = after or chance.choice(["start", "part", "checkpoint", "evaluation"])
        share = {"start": 1.5, "part": 0.0, "checkpoint": 0.6, "evaluation": 0.3}[after]
        return cls(number=number, after=after, delay=chance.uniform(0, share * seconds), nth=chance.randint(1, 6))

    def strike(self, run: Training) -> str:
        """Waits, sends the signal, waits for the end; where it struck, "" where the run had ended before."""
        seen = 0
        while run.code is None and self.after != "start":
            if time.monotonic() > run.started + PATIENCE:
                run.stuck(f"never came to {self}")
            if self.after == "part" and run.writes_checkpoint:
                seen += 1
                if seen >= self.nth:
                    break
                while run.code is None and run.writes_checkpoint and time.monotonic() < run.started + PATIENCE:
                    time.sleep(0.0001)
            files = run.checkpoints
            if self.after == "checkpoint" and any(f.endswith(".ckpt") for f in files):
                break
            if self.after == "evaluation" and STAGES[-1] in files:
                break
            time.sleep(0.0002)
        until = (run.started if self.after == "start" else time.monotonic()) + self.delay
        unheard = self.number == signal.SIGINT
        while run.code is None and (time.monotonic() < until or (unheard and not run.listens)):
            time.sleep(0.001)
        files = run.checkpoints
        if run.code is not None:
            return ""
        run.send(self.number)
        if run.wait() == 0:
            return ""
        if run.writes_checkpoint:
            return "checkpoint writing"
        if STAGES[-1] in files:
            return "evaluation"
        return "training" if any(f.endswith(".ckpt") for f in files) else "before the first checkpoint"


def result(folder: Path) -> dict[str, Any]:
    """What two runs of one config have in common: weights, numbers and answers."""
    from rsmoe.training.checkpoints import load_checkpoint

    told = json.loads((folder / "metrics.json").read_text())
    return {
        "weights": load_checkpoint(folder / "checkpoints" / STAGES[-1])["state_dict"],
        "results": told["results"],
        "baselines": told["baselines"],
        "config": told["run"]["config_sha256"],
        "answers": (folder / "predictions.jsonl").read_text(),
    }


def differences(given: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Names of what is not equal, weights bit for bit."""
    ours, theirs = given["weights"], expected["weights"]
    found = [n for n in ours.keys() | theirs.keys() if n not in ours or n not in theirs]
    found += [n for n in ours.keys() & theirs.keys() if not torch.equal(ours[n], theirs[n])]
    return found + [key for key in expected if key != "weights" and given[key] != expected[key]]


def _free_port() -> int:
    """One below those that the system hands out by itself: no other test is given it before the run listens there."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.SystemRandom().sample(range(first - 20_000, first), 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("", port))
            return port
    raise RuntimeError("no port is free")


def _marked(folder: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"{MARK}={folder}".encode() in (process / "environ").read_bytes().split(b"\0")  # none of a zombie
            found += [process.name] if ours else []
        except OSError:  # gone, or somebody else's
            continue
    return found
