"""Short trainings with every router, killed and continued, and asked with a control in the place of the router."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from support.models import batch_of
from support.runs import EXPERTS, Killed, at_step, equal, kill, run  # noqa: F401

from rsmoe.build import load_run
from rsmoe.config import compose, conf_dir
from rsmoe.errors import UserError
from rsmoe.evaluate import evaluate
from rsmoe.evaluation.open_run import open_run
from rsmoe.router.balance.loss_free import LossFreeBalance
from rsmoe.training.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow
STAGE = replace(EXPERTS, steps=2, teach_routing_steps=1, losses_until={"label": 1})
PAIRS = {
    "clusters": ("choice=top_k", "balance=loss_free"),
    "frozen": ("choice=sigmoid",),
    "image_only": ("choice=expert_choice", "balance=none"),
    "instruction": ("choice=noisy_top_k", "balance=cv2"),
    "instruction_only": ("choice=top_p",),
}


@pytest.mark.parametrize("router", sorted(path.stem for path in (conf_dir() / "router").glob("*.yaml")))
def test_every_router_trains_and_is_loaded_again(router: str, tmp_path: Path) -> None:
    model, trace = run(tmp_path, STAGE, overrides=(f"router={router}", *PAIRS.get(router, ())))
    assert len(trace) == 2 and all(abs(sum(step["load"]) - 1) < 1e-5 for step in trace)
    again = load_run(load_checkpoint(tmp_path))[0]
    batch = batch_of()
    with torch.no_grad():
        expected = model.eval().perceive(batch).routing.weights
        torch.testing.assert_close(again.perceive(batch).routing.weights, expected)
    if router == "oracle":
        with pytest.raises(UserError, match="router=oracle, which is told the task"):
            open_run(tmp_path, device="cpu")


def test_a_killed_run_continues_with_its_bias(
    tmp_path: Path,
    at_step: Callable[[int, int, Callable[[], None]], None],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("choice=noisy_top_k", "balance=loss_free", "balance.rate=0.1")
    stage = replace(EXPERTS, steps=4)
    whole, _ = run(tmp_path / "whole", stage, overrides=words)
    at_step(0, 3, kill)
    with pytest.raises(Killed):
        run(tmp_path / "killed", stage, overrides=words)
    monkeypatch.undo()
    model, _ = run(tmp_path / "resumed", stage, overrides=words, resume=tmp_path / "killed")
    assert equal(model, whole)
    balance = model.router.balance
    assert isinstance(balance, LossFreeBalance) and bool(balance.bias.any())


def test_a_trained_run_is_evaluated_with_controls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RSMOE_CACHE", str(tmp_path / "cache"))
    run(tmp_path / "run", STAGE)
    words = [f"checkpoint={tmp_path / 'run'}", "benchmark=scenes", "benchmark.scenes.reader.size=24", "beams=1",
             "max_new=2", "limit=4", "draws=0", "pictures=0", "device=cpu"]  # fmt: skip
    found = {}
    for control in ("", "uniform", "oracle"):
        cfg = compose([*words, *([f"router={control}"] if control else [])], name="evaluate")
        evaluate(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
        folder = tmp_path / "run" / "evaluation" / ("1-experts" + (f"-{control}" if control else "")) / "scenes"
        found[control] = json.loads((folder / "partial" / "metrics.json").read_text())["run"]
        told = "TOLD THE TASK"
        assert (told in capsys.readouterr().out) == (control == "oracle")
        assert (told in (folder / "partial" / "report.md").read_text()) == (control == "oracle")
    assert [found[c]["router"]["told_the_task"] for c in found] == [False, False, True]
    assert found["uniform"]["router"]["name"] == "rsmoe.router.uniform.UniformRouter"
    assert len({found[c]["config_sha256"] for c in found}) == 3
    cfg = compose([*words, "router=frozen"], name="evaluate")
    with pytest.raises(UserError, match="router=frozen has weights"):
        evaluate(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
