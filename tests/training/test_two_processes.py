"""`trainer=cpus`: the command line starts a second process, both train and answer, one writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import requests, tiny_model
from support.runs import TRAINER, data_of

import rsmoe
from rsmoe.errors import UserError
from rsmoe.settings.stage import Stage
from rsmoe.train import cli
from rsmoe.training.run import run_stages

SMALL = (
    "corpus.captions.generated.scenes.train=34",
    "corpus.questions.generated.scenes.train=34",
    "corpus.benchmark.generated.scenes.test=8",  # three batches: one process answers two of them
    "stage.perception.steps=2",
    "stage.perception.batch_size=8",
    *(f"stage.{name}.{word}" for name in ("dense", "experts") for word in ("steps=2", "batch_size=4")),
    "evaluation.beams=1",
    "evaluation.max_new=4",
    "+evaluation.metrics.own._target_=own_metric.Longest",
)
OWN_METRIC = """
from rsmoe.metrics import Metric, Protocol
from rsmoe.metrics.tally import whole

class Longest(Metric):
    protocol = Protocol(id="own/longest@1", title="Longest", sentence="Letters of the longest answer.", tasks=("vqa",))
    unscaled = frozenset(("letters",))

    def tally(self, pairs):
        return whole({"letters": max(len(p.text) for _, p in pairs)}, n=len(pairs))
"""


def started(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "own_metric.py").write_text(OWN_METRIC)
    paths = os.pathsep.join([str(folder), str(Path(rsmoe.__file__).parents[1])])
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-m", "rsmoe.train", "experiment=rsicap_moe", *SMALL, *words],
        cwd=folder,
        env=env
        | {"RSMOE_CACHE": str(folder / "cache"), "PYTHONPATH": paths, "RSMOE_TRUST": "own_metric.Longest"}
        | variables,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_run_on_two_processes_trains_every_stage_and_answers_as_one_does(tmp_path: Path) -> None:
    done = started(tmp_path, "trainer=cpus", "hydra.run.dir=run")
    run = tmp_path / "run"
    assert {p.name for p in (run / "checkpoints").glob("[123]-*")} == {
        "1-perception.ckpt",
        "2-dense.ckpt",
        "3-experts.ckpt",
    }
    told = json.loads((run / "metrics.json").read_text())
    assert told["run"]["processes"] == 2
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert told["run"]["hardware"].startswith(f"{threads} threads of")
    metrics = [row["metric"] for row in told["results"]]
    assert metrics.count("own/letters") == 1
    assert done.stdout.count("everything is in") == 1
    # the second wrote nothing of its own
    assert {p.name for p in tmp_path.iterdir()} - {"__pycache__"} == {"run", "cache", "own_metric.py"}
    # sums over other numbers of threads round otherwise, and the answers of a model that learned nothing hang on it
    started(
        tmp_path,
        "hydra.run.dir=again",
        "resume=run/checkpoints/3-experts.ckpt",
        "trainer=cpu",
        OMP_NUM_THREADS=str(threads),
    )
    alone = json.loads((tmp_path / "again" / "metrics.json").read_text())
    for report in (alone, told):
        for row in (*report["results"], *(row for rows in report["baselines"].values() for row in rows)):
            row.pop("config_sha256")  # of another trainer
    assert (alone["results"], alone["baselines"]) == (told["results"], told["baselines"])
    assert (tmp_path / "again" / "predictions.jsonl").read_text() == (run / "predictions.jsonl").read_text()


def test_draws_that_processes_cannot_share_equally_are_refused_before_anything_trains(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'later' draws 5 a step, which 2 processes cannot share"):
        run_stages(
            model=tiny_model(scrambled=False),
            data=data_of(requests()),
            stages=[Stage(name="first", steps=1, batch_size=4), Stage(name="later", steps=1, batch_size=5)],
            folder=tmp_path,
            seed=0,
            hparams={},
            trainer=TRAINER | {"devices": 2, "strategy": "ddp"},
            logger=None,
            checkpoint_every=100,
            resume=None,
        )


def test_a_sweep_on_two_processes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rsmoe.train", "-m", "seed=0,1", "trainer=cpus"])
    with pytest.raises(SystemExit, match="a sweep runs its jobs one after another"):
        cli()
