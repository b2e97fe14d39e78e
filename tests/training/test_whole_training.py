"""What a whole training gives: a run of Weights & Biases read back, the number for a sweeper, and the debug runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.composed import plain
from support.models import tiny_config
from support.small_training import FEW, small_training
from support.wandb_run import offline, read_run

import rsmoe.train
from rsmoe.cli.check import checked
from rsmoe.config import compose, conf_dir
from rsmoe.data.sampling.part import Part
from rsmoe.data.sampling.spread import spread
from rsmoe.errors import UserError
from rsmoe.evaluation import report
from rsmoe.evaluation.objective import full_name
from rsmoe.parts import instantiate
from rsmoe.train import train
from rsmoe.training.run import ADAMW

assert offline  # a fixture
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def generated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSMOE_DATA", raising=False)


@pytest.mark.usefixtures("offline")
def test_the_run_of_a_training_has_its_results(tmp_path: Path) -> None:
    words = ("logger=wandb", "name=mine", "objective=described/caption/cider_d", "evaluation.neighbours=4")
    config = small_training(*words, "validation.every=2", "trainer.devices=1")
    config["trainer"]["log_every_n_steps"] = 1
    config["stage"]["dense"]["lr_groups"] = {"vision": 1e-4}
    folder = tmp_path / "run"
    folder.mkdir()
    value = train(config, folder)
    run = read_run(folder)
    assert run.facts.display_name == "mine" and run.code == 0
    report = json.loads((folder / "metrics.json").read_text())
    for row in report["results"]:
        name = f"test/{row['data']}/{row['metric']}"
        assert run.summary[name] == pytest.approx(row["value"], nan_ok=True), name
        assert run.summary[f"protocol/{name}"] == row["protocol"]
        assert row["protocol"].startswith("generated/")
    assert value == run.summary["test/described/caption/cider_d"]

    curves = {name for row in run.history for name in row}
    experts = ("theme", "object", "vqa", "change", "mask", "retrieval")
    assert {f"router/load/{name}" for name in experts} | {"router/accuracy", "router/entropy"} <= curves
    assert {"train/loss", "train/text", "train/lr", "train/lr/vision", "train/stage", "train/grad_norm"} <= curves
    assert {"train/samples_per_s", "val/loss", "val/router/accuracy"} <= curves
    stages = [(row["trainer/global_step"], row["train/stage"]) for row in run.history if "train/stage" in row]
    assert stages == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]
    loads = [sum(row[f"router/load/{name}"] for name in experts) for row in run.history if "router/entropy" in row]
    assert loads == pytest.approx([1.0, 1.0], abs=1e-4)

    results, predictions = (run.table(name) for name in ("results", "predictions"))
    assert len(results["data"]) == len(report["results"])
    assert results["columns"][-3:] == ["majority", "text-only", "nearest neighbour"]
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    answers = {line["id"]: line for line in lines}
    columns = predictions["columns"]
    assert columns[-6:] == [f"router/{name}" for name in experts] and len(predictions["data"]) == len(lines)
    for cells in (dict(zip(columns, row, strict=True)) for row in predictions["data"]):
        line = answers[cells["id"]]
        assert (cells["prediction"], cells["instruction"]) == (line["text"], line["instruction"])
        assert cells["router/mask"] == pytest.approx(line["routing"]["mask"], abs=1e-5)
        assert cells["images"]["_type"] == "image-file"
        assert (cells["images"]["width"] > cells["images"]["height"]) == cells["task"].startswith("change")
        assert ("reference" in cells["images"].get("masks", {})) == (cells["task"] == "mask")
        assert run.files[cells["images"]["path"]].read_bytes().startswith(b"\x89PNG")
    assert run.history[-1]["router._type"] == run.history[-1]["samples._type"] == "image-file"
    assert len(list(folder.rglob("media/images/router*.png"))) == 1
    assert rsmoe.load(folder).run.dialogues is False  # small_training has no earlier turns


def test_an_objective_that_is_not_measured_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsmoe.training.run.run_stages", lambda **kwargs: pytest.fail("trained"))
    with pytest.raises(UserError, match=r"unknown number in objective 'caption/cidr'. Did you mean 'caption/cider_d'"):
        train(small_training("objective=caption/cidr"), tmp_path)
    with pytest.raises(UserError, match=r"measured 2 times: give one of test/described/n, val/described/n"):
        full_name("described/n", ["test/described/n", "val/described/n", "val/asked/n"])
    assert (
        full_name("caption/cider_d", ["val/a/caption/cider_d", "val/a/change_caption/cider_d"])
        == "val/a/caption/cider_d"
    )


def sweep(tmp_path: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """``-m`` in a process of its own, with a sweeper that prints what the jobs return."""
    plugin = tmp_path / "hydra_plugins" / "lowest"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(
        "from hydra._internal.core_plugins.basic_sweeper import BasicSweeper\n\n\n"
        "class Lowest(BasicSweeper):\n"
        "    def sweep(self, arguments):\n"
        "        for job in super().sweep(arguments)[0]:\n"
        "            print('RETURNED', *job.overrides, job.return_value)\n"
    )
    tiny = [w for w in tiny_words() if "=" in w]
    return subprocess.run(
        [sys.executable, "-m", "rsmoe.train", "-m", *tiny, *words, f"hydra.sweep.dir={tmp_path}/sweep"],
        capture_output=True, text=True, timeout=500, cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "RSMOE_DATA"}
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"} | env,
    )  # fmt: skip


def tiny_words() -> list[str]:
    from support.models import TINY

    small = [w for w in TINY if not w.startswith("vision=")]
    return [*FEW, *small, "expert=[theme,vqa,change,mask,retrieval]", "vision=resnet_tiny", "logger=csv"]


@pytest.mark.slow
def test_a_sweeper_gets_the_number(tmp_path: Path) -> None:
    done = sweep(
        tmp_path, "seed=0,1", "objective=caption/cider_d", "hydra.sweeper._target_=hydra_plugins.lowest.Lowest",
        "evaluation.splits=[val]", "name=swept",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = [line.split() for line in done.stdout.splitlines() if line.startswith("RETURNED")]
    assert len(found) == 2
    for number, words in enumerate(found):
        rows = json.loads((tmp_path / "sweep" / str(number) / "metrics.json").read_text())["results"]
        (cider,) = [row["value"] for row in rows if row["metric"] == "caption/cider_d"]
        assert float(words[-1]) == cider and f"seed={number}" in words


@pytest.mark.slow
def test_optuna_looks_for_the_best(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="extra `optuna` is not installed")
    done = sweep(
        tmp_path, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.direction=maximize", "seed=choice(0,1,2)", "objective=caption/cider_d",
        "evaluation.splits=[val]",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    best = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert set(best["best_params"]) == {"seed"} and isinstance(best["best_value"], float)


def test_the_wandb_sweep_is_a_sweep_of_ours() -> None:
    """As the agent builds its command: every choice of every parameter composes, and the metric is one of the run."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    node = yaml.safe_load((ROOT / "experiments" / "wandb_sweep.yaml").read_text())
    assert node["method"] in ("grid", "random", "bayes") and node["metric"]["goal"] in ("minimize", "maximize")
    choices = {name: each["values"] for name, each in node["parameters"].items()}
    for place in range(max(map(len, choices.values()))):
        given = {name: {"value": values[place % len(values)]} for name, values in choices.items()}
        known = create_sweep_command_args({"args": given}) | {
            "env": ["/usr/bin/env"], "interpreter": ["python"], "program": [node["program"]],
        }  # fmt: skip
        chunks = create_sweep_command(list(node["command"]))
        command = [w for c in chunks for w in (known[c[2:-1]] if c.startswith("${") else [c])]
        assert command[:4] == ["/usr/bin/env", "python", "-m", "rsmoe.train"]
        checked("train", command[4:])
    config = compose([w for w in command[4:]])
    split, data, metric = node["metric"]["name"].split("/", 2)
    assert config.evaluation.splits == [split] and split in config.corpus[data].splits
    assert metric == "caption/cider_d" and config.logger.project == "rsmoe"


DEBUG = sorted(path.stem for path in (conf_dir() / "debug").glob("*.yaml"))


@pytest.mark.parametrize("name", DEBUG)
def test_every_debug_run_runs(name: str, tmp_path: Path) -> None:
    config = small_training(f"debug={name}", "limit.steps=2", "validation.every=2")
    train(config, tmp_path)
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert {row["split"] for row in report["results"]} == {"train" if name == "overfit" else "test"}
    assert all(row["protocol"].startswith("generated/") for row in report["results"])
    alone = tiny_config(f"debug={name}")
    assert alone["limit"] == {
        "one_batch": {"steps": 1, "samples": None},
        "overfit": {"steps": None, "samples": 8},
        "profile": {"steps": 20, "samples": None},
    }[name]  # fmt: skip
    tables = list((tmp_path / "curves").glob("*profile*.txt"))
    assert bool(tables) == (name == "profile") and all("optimizer_step" in table.read_text() for table in tables)


@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_dir() / "callback").glob("*.yaml")))
def test_every_callback_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(small_training(f"callback=[{name}]", "evaluation.splits=[]"), tmp_path)
    shown = capsys.readouterr().out
    assert {"early_stopping": "are the best: val/loss", "best_weights": "are the best: val/loss"}.get(
        name, "model.qformer"
    ) in shown


@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_dir() / "optimizer").glob("*.yaml")))
def test_every_optimizer_runs(name: str, tmp_path: Path) -> None:
    config = small_training(f"optimizer={name}", "evaluation.splits=[]")
    assert (config["optimizer"] == ADAMW) == (name == "adamw")
    train(config, tmp_path)
    saved = torch.load(tmp_path / "checkpoints" / "2-experts.ckpt", weights_only=True)
    group = saved["optimizer_states"][0]["param_groups"][0]
    keys = {"adamw": "betas", "sgd": "nesterov", "adafactor": "beta2_decay"}
    assert keys[name] in group and len({k for k in keys.values() if k in group}) == 1
    if name == "adamw":
        assert list(group["betas"]) == [0.9, 0.98] and group["fused"] and group["eps"] == 1e-8


def test_parts_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    for word, message in (
        ("optimizer._target_=torch.optim.lr_scheduler.StepLR", "optimizer._target_"),
        ("optimizer.betas=[0.9,x]", "optimizer.betas"),
        ("+callback.mine={_target_: rsmoe.vision.resnet.ResNet}", "callback.mine"),
        ("+optimizer.nesterov=true", "nesterov"),
    ):
        with pytest.raises(UserError, match=message):
            checked("train", ["experiment=rsicap_moe", word])


def test_baselines_learn_from_so_many_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = report.baselines

    def counted(outcome: Any, train: Any, **kwargs: Any) -> Any:
        seen.append(len(train))
        return real(outcome, train, **kwargs)

    monkeypatch.setattr("rsmoe.evaluation.report.baselines", counted)
    train(small_training("evaluation.neighbours=7"), tmp_path)
    assert seen and set(seen) == {7}
    assert compose(["experiment=rsicap_moe"]).evaluation.neighbours == compose([], name="evaluate").neighbours == 20000


def test_a_part_is_evenly_spread() -> None:
    assert spread(10, 4) == [0, 3, 5, 9] and spread(3, None) == spread(3, 9) == [0, 1, 2] and spread(0, 4) == []
    for tasks in range(2, 8):  # in turn, as in generated scenes: no limit leaves one out
        for limit in (50, 100, 210):
            found = Counter(place % tasks for place in spread(420, limit))
            assert len(found) == tasks and max(found.values()) < 1.7 * limit / tasks, (tasks, limit, found)
    node = compose(["corpus=scenes"]).corpus.described
    data: Any = instantiate({**plain(node.reader), "size": 6, "split": "train"})
    part = Part(data, most=4)
    assert [part[i].id for i in range(len(part))] == [data[i].id for i in spread(6, 4)]
    assert (part.protocol, len(Part(data, most=9))) == (data.protocol, 6)
    with pytest.raises(IndexError):
        part[4]


def test_land_cover_is_scored_where_its_metric_is_asked_for(tmp_path: Path) -> None:
    """From the words of a command to a number, against the maps of generated scenes."""
    maps = ("maps=[land_cover]", "maps.land_cover.channels=8", "+metric=segmentation_miou")
    (tmp_path / "run").mkdir()
    train(small_training(*maps, "evaluation.limit=12"), tmp_path / "run")
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
    found = {r["metric"]: r for r in report["results"] if r["protocol"] == "generated/segmentation/miou@1"}
    names = {"segmentation_miou/miou", "segmentation_miou/pixel_accuracy", "segmentation_miou/iou/road"}
    assert names <= set(found)
    assert found["segmentation_miou/miou"]["n"] > 1 and found["segmentation_miou/miou"]["parse_failures"] == 0
    assert 0 < found["segmentation_miou/miou"]["value"] < 100
    said = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert any("land_cover" in row.get("outputs", {}) for row in said)
