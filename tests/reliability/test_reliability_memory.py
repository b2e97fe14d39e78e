"""Memory and open files of a process that asks a model again and again stay flat."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from support.checkpoints import CALM, tiny_run
from support.releases import RELEASES
from support.reliability import LONG
from support.shard_data import shards_of, toy

import rsmoe
from rsmoe.config import compose
from rsmoe.data.shards.index import open_shards
from rsmoe.data.shards.stream import Stream
from rsmoe.evaluate import evaluate

TIMES = 60 if LONG else 12
MOST_MB = 25
"""Growth over so many times; a leak of one picture or of one model of the test, a time, would be more."""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def megabytes() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    tiny_run(home / "run", *CALM, steps=1)
    picture = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)  # 3 MB
    Image.fromarray(picture).save(home / "a.png")
    RELEASES["ucm_captions"](home)
    shards_of(toy(home / "toy", 8), home / "shards")
    return home


def asked(home: Path, turn: int) -> Any:
    return rsmoe.load(home / "run").ask(home / "a.png", beams=1, max_new=2)


def judged(home: Path, turn: int) -> None:
    words = ["benchmark=ucm_captions", "beams=1", "max_new=2", "draws=2", f"data.root={home}"]
    config = compose([f"checkpoint={home / 'run'}", *words, f"out={home}/judged{turn}"], name="evaluate")
    evaluate(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]


def streamed(home: Path, turn: int) -> None:
    shards = {"toy": open_shards(str(home / "shards"), "train")}
    for pairs in Stream(shards=shards, batch_size=2, steps=20, buffer=8):
        assert pairs


@pytest.mark.parametrize("work", [asked, judged, streamed])
def test_the_same_again_and_again_takes_no_more(
    work: Callable[[Path, int], Any], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for turn in range(4):  # caches fill, and the allocator takes what it will keep
        work(home, turn)
        capsys.readouterr()
    before, opened = megabytes(), files()
    for turn in range(4, 4 + TIMES):
        work(home, turn)
        capsys.readouterr()
    assert files() <= opened
    assert megabytes() - before < MOST_MB
