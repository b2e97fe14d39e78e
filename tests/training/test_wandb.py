"""Curves: one W&B run a job, and one csv file, with an axis that goes on over the stages."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support.models import codecs, requests, tiny_config, tiny_model
from support.runs import DENSE, EXPERTS, TRAINER, Killed, at_step, data_of, kill
from support.wandb_run import offline, read_run

from rsmoe.config import compose
from rsmoe.training.curves import ended, open_curves
from rsmoe.training.run import run_stages

assert at_step and offline  # fixtures
STAGES = (replace(DENSE, steps=3, losses={"text": 1.0}), replace(EXPERTS, steps=4, losses={"text": 1.0, "label": 1.0}))
OFTEN = {"log_every_n_steps": 1}


def logger(*words: str) -> dict[str, Any]:
    return OmegaConf.to_container(compose(list(words)).logger, resolve=True)  # type: ignore[return-value]


def trained(folder: Path, log: dict[str, Any] | None, trainer: dict[str, Any] | None = None, **more: Any) -> None:
    codec, words = codecs()
    hparams = {"config": tiny_config(), "codec": codec.state(), "instruction_codec": words.state()}
    options = {"stages": STAGES, "checkpoint_every": 2, "resume": None} | more
    run_stages(
        model=tiny_model(scrambled=False), data=data_of(requests()), folder=folder, seed=3, hparams=hparams,
        trainer=TRAINER | OFTEN | (trainer or {}), logger=open_curves(log, folder), **options,
    )  # fmt: skip


@pytest.mark.usefixtures("offline")
def test_every_job_is_one_run_with_one_axis_and_no_tokenizer(tmp_path: Path, at_step: Any) -> None:
    log = logger("logger=wandb", "name=mine", "logger.group=study", "logger.tags=[a,b]")
    with ended():
        trained(tmp_path / "0", log)
    at_step(1, 2, kill)
    with pytest.raises(Killed), ended():
        trained(tmp_path / "1", log)
    assert sys.modules["wandb"].run is None
    codes = []
    for job in ("0", "1"):
        found = read_run(tmp_path / job)
        codes.append(found.code)
        facts, config = found.facts, found.config
        assert (facts.display_name, facts.run_group, facts.job_type) == ("mine", "study", "train")
        assert (facts.project, list(facts.tags)) == ("rsmoe", ["a", "b"])
        assert {"vision", "lm", "stage", "seed", "overrides"} <= set(config)  # columns of their own
        assert "tokenizer" not in json.dumps(config) and not {"codec", "instruction_codec"} & set(config)
        steps = [row["trainer/global_step"] for row in found.history if "train/loss" in row]
        assert steps == list(range(7 if job == "0" else 5))
        assert all("train/lr" in row for row in found.history if "train/loss" in row)
    assert codes == [0, 1]


def curves(folder: Path) -> list[dict[str, str]]:
    (file,) = folder.rglob("metrics.csv")
    with file.open() as lines:
        return [row for row in csv.DictReader(lines) if row.get("train/loss")]


def test_one_csv_file_goes_on_over_stages_and_resumes(
    tmp_path: Path, at_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logger()
    trained(tmp_path / "whole", log)
    assert [int(row["step"]) for row in curves(tmp_path / "whole")] == list(range(7))
    assert sorted(p.name for p in (tmp_path / "whole" / "curves").iterdir()) == ["hparams.yaml", "metrics.csv"]
    assert "tokenizer" not in (tmp_path / "whole" / "curves" / "hparams.yaml").read_text()
    lr = [float(row["train/lr"]) for row in curves(tmp_path / "whole")]
    assert lr[:3] == pytest.approx([5e-4, 1e-3, 5.05e-4], rel=1e-3) and lr[3] == pytest.approx(5e-4)
    at_step(1, 3, kill)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", log)
    monkeypatch.undo()
    trained(tmp_path / "again", log, resume=tmp_path / "killed" / "checkpoints" / "last.ckpt")
    assert [int(row["step"]) for row in curves(tmp_path / "again")] == [5, 6]


def test_a_run_without_a_logger(tmp_path: Path) -> None:
    trained(tmp_path, None)
    assert not list(tmp_path.rglob("metrics.csv"))


def test_callbacks_and_plugins_of_the_user_are_there_too(tmp_path: Path) -> None:
    monitor = {"_target_": "lightning.pytorch.callbacks.LearningRateMonitor", "logging_interval": "step"}
    stop = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "nope", "mode": "min"}
    trained(tmp_path / "list", logger(), {"callbacks": [monitor]}, stages=STAGES[:1])
    (file,) = (tmp_path / "list").rglob("metrics.csv")
    assert any(column.startswith("lr-AdamW") for column in file.read_text().splitlines()[0].split(","))
    trained(tmp_path / "named", logger(), {"callbacks": {"rates": monitor, "none": None}}, stages=STAGES[:1])
    # our own are not lost: the checkpoint of the middle is there
    assert (tmp_path / "named" / "checkpoints" / "last.ckpt").is_file()
    saver = {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": str(tmp_path / "own"),
        "filename": "{step}", "every_n_train_steps": 1, "save_top_k": -1,
    }  # fmt: skip
    trained(tmp_path / "saver", logger(), {"callbacks": [saver]}, stages=STAGES[:1])
    assert len(list((tmp_path / "own").glob("*.ckpt"))) == 3
    with pytest.raises(RuntimeError, match="nope"):  # Lightning's own word: the callback is asked
        trained(tmp_path / "strict", logger(), {"callbacks": [stop | {"check_on_train_epoch_end": True}]})


def test_a_scheduler_of_accumulation_is_refused(tmp_path: Path) -> None:
    own = {"_target_": "lightning.pytorch.callbacks.GradientAccumulationScheduler", "scheduling": {0: 2}}
    with pytest.raises(Exception, match=r"trainer.accumulate_grad_batches=<n>"):
        trained(tmp_path, logger(), {"callbacks": [own]})
    assert torch.is_grad_enabled()
