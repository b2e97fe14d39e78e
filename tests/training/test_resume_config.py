"""resume takes the run's own config, one folder holds all ranks, and a process that is gone is a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from support.composed import plain, short
from support.composed import run as run_config
from support.models import requests, tiny_config
from support.runs import DENSE, EXPERTS
from support.runs import run as run_stages_of
from torch import distributed

import rsmoe.training.resume
from rsmoe.cli.check import checked
from rsmoe.config import compose
from rsmoe.errors import UserError
from rsmoe.evaluation.run_facts import run_facts, start_of
from rsmoe.launch import stamp
from rsmoe.train import train
from rsmoe.training import ranks
from rsmoe.training.ranks import whole_group
from rsmoe.training.resume import continued, words_of_run
from rsmoe.training.run import find_checkpoint, load_checkpoint
from rsmoe.training.stage_trainer import launched

WORDS = [
    "experiment=rsicap_moe", "world=real", "seed=3", "trainer.precision=bf16-mixed",
    "stage.perception.steps=20", "stage.dense.steps=20", "stage.experts.steps=20",
    "+loader.stream=null",
]  # fmt: skip


@cache
def once(words: tuple[str, ...]) -> Any:
    return compose(words)


@pytest.fixture(autouse=True)
def composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsmoe.training.resume, "compose", lambda words, extra=None: once(tuple(words)))


def saved(*words: str, stage: int = 1, step: int = 10) -> dict[str, Any]:
    config = plain(once((*WORDS, *words)))
    return {"hyper_parameters": {"config": config, "words": [*WORDS, *words], "stage": stage}, "global_step": step}


def resumed(checkpoint: dict[str, Any], *words: str) -> tuple[dict[str, Any], list[str]]:
    return continued(checkpoint, {"resume": "runs/x"}, words=["resume=runs/x", *words])


def without(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "resume"}


@pytest.mark.parametrize(
    "words", [[], WORDS, ["seed=3"], ["experiment=rsicap_moe"], ["trainer=cpu", "model=rsicap_tiny"]]
)
def test_nothing_needs_to_be_typed_again(words: list[str]) -> None:
    checkpoint = saved()
    config, notes = resumed(checkpoint, *words)
    assert without(config) == without(checkpoint["hyper_parameters"]["config"]) and notes == []
    assert config["resume"] == "runs/x" and checkpoint["hyper_parameters"]["config"]["resume"] is None


@pytest.mark.parametrize(
    ("word", "path", "value"),
    [
        ("trainer=cpus", "trainer.devices", 2),
        ("trainer=gpu", "trainer.accelerator", "gpu"),
        ("trainer.precision=32-true", "trainer.precision", "32-true"),
        ("+trainer.callbacks=[{_target_: mine.Timer}]", "trainer.callbacks", [{"_target_": "mine.Timer"}]),
        ("stage.experts.steps=50", "stage.experts.steps", 50),
        ("stage.dense.steps=30", "stage.dense.steps", 30),
        ("logger=wandb", "logger.project", "rsmoe"),
        ("evaluation.beams=1", "evaluation.beams", 1),
        ("evaluation.splits=[]", "evaluation.splits", []),
        ("loader.workers=2", "loader.workers", 2),
        ("checkpoint_every=7", "checkpoint_every", 7),
        ("data.root=/elsewhere", "data.root", "/elsewhere"),
    ],
)  # fmt: skip
def test_what_may_change_is_applied_and_said(word: str, path: str, value: Any) -> None:
    checkpoint = saved()
    config, notes = resumed(checkpoint, word)
    found = OmegaConf.select(OmegaConf.create(config), path)
    assert (OmegaConf.to_container(found) if OmegaConf.is_config(found) else found) == value
    assert notes and any(note.startswith(word.lstrip("+").split(".")[0].split("=")[0]) for note in notes)
    assert config["vision"] == checkpoint["hyper_parameters"]["config"]["vision"]
    assert [s["lr"] for s in config["stage"].values()] == [2e-3, 2e-3, 5e-4]


def test_a_group_that_changes_takes_its_old_keys_away() -> None:
    config, _ = resumed(saved("trainer=cpus"), "trainer=cpu")
    assert "strategy" not in config["trainer"] and config["trainer"]["precision"] == "bf16-mixed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=0"], r"cannot change: seed=0 \(was 3\).*start=<run>"),
        (["corpus=scenes"], "corpus"),
        (["experiment=changechat_moe"], "corpus|name=changechat_moe"),
        (["model=small", "schedule=from_scratch"], r"image_size=128 \(was 64\).* and \d+ more"),
        (["expert=[theme,vqa]"], r"expert\.\S+absent \(was"),
        (["stage.perception.lr=1"], "stage.perception.lr=1"),
        (["stage.dense.batch_size=8"], "stage.dense.batch_size"),
        (["+loader.collate.max_prompt_x=3"], "loader.collate.max_prompt_x=3 .was absent"),
        (["lm.config.hidden_size=8", "trainer=cpus"], "lm.config.hidden_size=8"),
        (["stage.perception.steps=30"], "'perception' cannot have 30 steps: the run is at step 10 of stage 'dense'"),
        (["stage.dense.steps=5"], "stage 'dense' cannot have 5 steps: the run is at step 10"),
        (["name=other"], "name=other"),
    ],
)  # fmt: skip
def test_what_may_not_change_is_refused_by_name(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        resumed(saved(), *words)
    assert "\n" not in str(error.value)


def test_a_checkpoint_without_words_is_compared_as_it_is() -> None:
    """As outside of a command line."""
    checkpoint = saved()
    given = plain(compose([*WORDS, "evaluation.beams=2"])) | {"resume": "x"}
    config, notes = continued(checkpoint, given, words=None)
    assert notes == ["evaluation.beams=2 (was 3)"] and config["evaluation"]["beams"] == 2
    with pytest.raises(UserError, match=r"seed=1 \(was 3\)"):
        continued(checkpoint, given | {"seed": 1}, words=None)


def test_words_of_a_checkpoint_change_nothing_of_hydra(tmp_path: Path) -> None:
    checkpoint = saved()
    checkpoint["hyper_parameters"]["words"] += [f"hydra.searchpath=[file://{tmp_path}]", "hydra/launcher=x"]
    assert resumed(checkpoint)[1] == []


def resumable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> list[str]:
    """What the command line becomes beside what the file says."""
    checkpoint = saved()
    monkeypatch.setattr("rsmoe.training.checkpoints.load_checkpoint", lambda path, weights: checkpoint)
    monkeypatch.setattr("rsmoe.trust.checkpoint.check_checkpoint", lambda checkpoint: None)
    checkpoint["hyper_parameters"]["words"] += changed.pop("words", [])
    for key, value in changed.items():
        checkpoint["hyper_parameters"]["config"][key] = value
    return words_of_run([f"resume={tmp_path}", "seed=4", "logger.name=/mine"])


def test_words_of_a_run_come_as_hydra_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quoted once, as they were saved; of a run that began with start=, without that word."""
    own = resumable(tmp_path, monkeypatch, words=["lm.pretrained='/a folder'", "start='/x'"])
    assert own == [w for w in WORDS if w != "seed=3"] + ["lm.pretrained='/a folder'"]
    assert checked("train", [f"resume={tmp_path}"], before=["name='a b'"])[-2:] == [
        "name='a b'",
        f"resume='{tmp_path}'",
    ]


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"words": ["name=../../x"]}, "name"),
        ({"words": ["name='/x'"]}, "name"),
        ({"logger": {"project": "/x"}}, "logger.project"),
        ({"logger": {"settings": {"base_url": "x"}}}, "logger.settings.base_url"),
        ({"trainer": {"default_root_dir": "x"}}, "trainer.default_root_dir"),
        ({"data": {"root": "http://x"}}, "data.root"),
        ({"corpus": {"a": {"generated": {"root": "x"}}}}, "corpus.a.generated.root"),
        ({"corpus": {"a": {"reader": {"cache": "x"}}}}, "corpus.a.reader.cache"),
    ],
)
def test_a_file_chooses_no_address_and_no_place(
    changed: dict[str, Any], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=rf"^{key}=.*type it again: {key}="):
        resumable(tmp_path, monkeypatch, **changed)


def test_what_is_typed_again_is_the_users_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resumable(tmp_path, monkeypatch, logger={"name": "/mine"})


@pytest.mark.parametrize("key", ["corpus.a.reader.root", "logger.namesake", "logger"])
def test_the_same_text_under_another_key_is_no_choice(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = saved()
    checkpoint["hyper_parameters"]["config"]["logger"] = {"name": "/mine"}
    monkeypatch.setattr("rsmoe.training.checkpoints.load_checkpoint", lambda path, weights: checkpoint)
    monkeypatch.setattr("rsmoe.trust.checkpoint.check_checkpoint", lambda checkpoint: None)
    with pytest.raises(UserError, match=r"^logger\.name=.*type it again"):
        words_of_run([f"resume={tmp_path}", f"{key}=/mine/data"])


def test_a_run_killed_in_its_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The continued folder is whole, its config is the run's, and so is its fingerprint."""
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    small = short(plain(compose(["experiment=rsicap_moe", "+stage.perception.losses.land_cover=0.2"])))
    run_config(small, tmp_path, monkeypatch)
    out = tmp_path / "again"
    out.mkdir()
    last = find_checkpoint(tmp_path / "run")
    train(small | {"resume": str(tmp_path / "run")}, out)
    assert [p.name for p in (out / "checkpoints").iterdir()] == [last.name] == ["3-experts.ckpt"]
    first, then = (json.loads((f / "metrics.json").read_text()) for f in (tmp_path / "run", out))
    assert first["run"]["config_sha256"] == then["run"]["config_sha256"]
    assert first["results"] == then["results"]
    kept = OmegaConf.load(out / "config.yaml")
    assert kept.name == "rsicap_moe" and kept.resume == str(tmp_path / "run")
    assert load_checkpoint(out)["hyper_parameters"]["config"]["stage"]["perception"]["losses"] == {"land_cover": 0.2}


def test_a_resume_is_not_another_configuration() -> None:
    config, model = tiny_config(), type("M", (), {"parameters": lambda self: [], "dense": True})()
    facts = [run_facts(model, config | {"resume": resume}) for resume in (None, "runs/a", "runs/b")]  # type: ignore[arg-type]
    assert facts[0] == facts[1] == facts[2]


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ({"seed": 7}, True),
        ({"loader": {"workers": 4, "eval_batch_size": 8}}, True),
        ({"evaluation": {"limit": 3, "splits": ["val"]}}, True),
        ({"evaluation": {"beams": 1}}, False),
        ({"evaluation": {"max_new": 9}}, False),
        ({"loader": {"collate": {"jitter": 0.9}}}, False),
        ({"start": "runs/a"}, False),  # not from random weights
    ],
)  # fmt: skip
def test_the_method_is_what_makes_a_number(words: dict[str, Any], same: bool) -> None:
    config, model = tiny_config(), type("M", (), {"parameters": lambda self: [], "dense": True})()
    changed = OmegaConf.to_container(OmegaConf.merge(config, words))
    first, then = (run_facts(model, c)["method_sha256"] for c in (config, changed))  # type: ignore[arg-type]
    assert (first == then) == same


def test_the_place_of_older_weights_is_no_method() -> None:
    config, model = tiny_config(), type("M", (), {"parameters": lambda self: [], "dense": True})()
    facts = [run_facts(model, config | {"start": start}) for start in ("runs/a", "runs/b")]  # type: ignore[arg-type]
    assert facts[0]["method_sha256"] == facts[1]["method_sha256"]
    assert facts[0]["config_sha256"] != facts[1]["config_sha256"]


def test_older_weights_of_another_method_are_another_method() -> None:
    """Another seed of the started run is not; another setting of it, or of the one before, and another stage are."""
    model = type("M", (), {"parameters": lambda self: [], "dense": True})()
    first, more = saved(), {"seed": 7, "start": "runs/y"}

    def method(started: dict[str, Any]) -> str:
        facts = run_facts(model, tiny_config() | {"start": "runs/x"}, start_method=start_of(started))  # type: ignore[arg-type]
        return str(facts["method_sha256"])

    def of(**changed: Any) -> dict[str, Any]:
        kept = first["hyper_parameters"]
        return first | {"hyper_parameters": kept | {"config": kept["config"] | changed}}

    before = of(**more)
    before["hyper_parameters"]["start_method"] = "f" * 16
    others = [of(image_size=48), of(**more), before, saved(stage=0), saved(step=9)]
    assert method(of(seed=7)) == method(first)
    assert len({method(first), *map(method, others)}) == 1 + len(others)


def test_a_stage_that_is_complete_is_kept_where_the_next_one_goes_on(tmp_path: Path) -> None:
    stages = (replace(DENSE, steps=2), replace(EXPERTS, steps=2))
    run_stages_of(tmp_path / "a", *stages, samples=requests())
    run_stages_of(tmp_path / "b", *stages, resume=tmp_path / "a" / "checkpoints" / "1-dense.ckpt")
    names = {p.name for p in (tmp_path / "b" / "checkpoints").iterdir()}
    assert names == {"1-dense.ckpt", "2-experts.ckpt", "last.ckpt"}


@pytest.mark.parametrize(
    "reason",
    [
        "[/x/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:34532: Connection reset by peer",
        "NCCL communicator was aborted on rank 0",
        "Application timeout caused pair closure, Socket Timeout",
    ],
)
def test_a_process_that_is_gone_is_a_line(reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "my_share", lambda: (0, 2))
    with pytest.raises(UserError, match="another process of this run is gone.*no checkpoint"), whole_group(tmp_path):
        raise RuntimeError(reason)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(UserError, match=f"resume={tmp_path}"), whole_group(tmp_path):
        raise distributed.DistBackendError(reason)
    with pytest.raises(RuntimeError, match="shapes"), whole_group(tmp_path):
        raise RuntimeError("shapes differ")
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="pair.cc|NCCL|Socket"), whole_group(tmp_path):
        raise RuntimeError(reason)  # of a run of one process


def test_a_process_that_never_came_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did not all start.*1/2 clients.*MASTER_PORT"), whole_group(tmp_path):
        distributed.TCPStore("127.0.0.1", 0, 2, is_master=True, timeout=timedelta(seconds=1))


@pytest.mark.slow
def test_ranks_that_start_a_second_apart_share_one_folder(tmp_path: Path) -> None:
    """As torchrun starts them, with the store of its agent."""
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    code = "import sys, time; from rsmoe.launch import stamp; print(stamp())"
    told = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none",
    }  # fmt: skip
    started = []
    for rank in (1, 0):  # the one that asks begins first
        env = os.environ | told | {"RANK": str(rank), "PYTHONPATH": str(Path(__file__).parents[2])}
        started.append(subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True))
        time.sleep(2.0 if rank else 0)
    names = [process.communicate(timeout=120)[0].strip() for process in started]
    assert names[0] == names[1] and names[0].startswith("20")


def test_a_slurm_job_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0"}.items():
        monkeypatch.setenv(key, value)
    assert stamp() == "slurm-77"
    monkeypatch.setenv("SLURM_STEP_ID", "2")
    assert stamp() == "slurm-77-2"
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert stamp().startswith("20")


def test_nodes_and_devices_are_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    ddp = plain(compose(["trainer=ddp"]))["trainer"]
    assert ddp["num_nodes"] is None and launched(ddp) == {}
    for key, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "RANK": "0"}.items():
        monkeypatch.setenv(key, value)
    assert launched(ddp) == {"devices": 8, "num_nodes": 2}
    assert launched(ddp | {"devices": 4, "num_nodes": 1}) == {}
    for key in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK"):
        monkeypatch.delenv(key)
    for key, value in {"SLURM_NTASKS": "8", "SLURM_JOB_NAME": "train", "SLURM_NNODES": "2"}.items():
        monkeypatch.setenv(key, value)
    assert launched(ddp) == {"num_nodes": 2}
