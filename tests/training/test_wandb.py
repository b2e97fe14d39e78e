"""Curves: one W&B run a job, and one csv file, with an axis that goes on over the stages."""

from __future__ import annotations

import csv
import json
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support.models import codecs, requests, tiny_config, tiny_model
from support.runs import DENSE, EXPERTS, TRAINER, Killed, at_step, data_of, kill

from rsmoe.config import compose
from rsmoe.training.curves import ended
from rsmoe.training.run import run_stages

assert at_step  # a fixture
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
        trainer=TRAINER | OFTEN | (trainer or {}), logger=log, **options,
    )  # fmt: skip


def logged(raw: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log with W&B's header of 7 bytes: blocks of 32 KiB, fragments with checksum, size, kind."""
    place, parts = 7, b""
    while place + 7 <= len(raw):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack_from("<HB", raw, place + 4)
        parts += raw[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last fragment
            yield parts
            parts = b""


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], Any, int | None]:
    """Config, history, facts and exit code of an offline run."""
    from wandb.proto import wandb_internal_pb2

    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    facts, code = None, None
    for data in logged(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            facts = record.run
        if kind in ("config", "run"):
            updates = record.run.config.update if kind == "run" else record.config.update
            config |= {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in updates}
        if kind == "history":
            history.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.history.item})
        if kind == "exit":
            code = record.exit.exit_code
    return config, history, facts, code


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


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
        (file,) = (tmp_path / job).rglob("*.wandb")
        deadline = time.monotonic() + 60  # W&B writes in a process of its own, which may lag on a busy machine
        while read(file)[3] is None and time.monotonic() < deadline:
            time.sleep(0.2)
        config, history, facts, code = read(file)
        codes.append(code)
        assert (facts.display_name, facts.run_group, facts.job_type) == ("mine", "study", "train")
        assert (facts.project, list(facts.tags)) == ("rsmoe", ["a", "b"])
        assert {"vision", "lm", "schedule", "seed"} <= set(config)  # columns of their own
        assert "tokenizer" not in json.dumps(config) and not {"codec", "instruction_codec"} & set(config)
        steps = [row["trainer/global_step"] for row in history if "train/loss" in row]
        assert steps == list(range(7 if job == "0" else 5))
        assert all("train/lr" in row for row in history if "train/loss" in row)
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
