"""Experts out as PEFT folders by a command, and in by a word of a training."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import CALM, tiny_run
from support.small_training import small_training

from rsmoe.cli.check import checked
from rsmoe.commands.adapters import cli
from rsmoe.errors import UserError
from rsmoe.evaluation.open_run import open_run
from rsmoe.train import train
from rsmoe.training.checkpoints import load_checkpoint

EXPERTS = ["theme", "object", "vqa", "change", "mask", "retrieval"]


def export(run: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["adapters", f"checkpoint={run}", f"out={out}"])
    cli()


@pytest.mark.parametrize("bank", ["shared", "separate"])
def test_every_expert_is_a_folder_that_peft_loads(
    bank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from peft import AutoPeftModelForCausalLM

    run, out = tiny_run(tmp_path / "run", *CALM, f"bank={bank}"), tmp_path / "out"
    export(run, out, monkeypatch)
    bases = ["base"] if bank == "shared" else [f"{name}-base" for name in EXPERTS]
    assert sorted(p.name for p in out.iterdir()) == sorted([*EXPERTS, *bases])
    assert ", ".join(sorted([*EXPERTS, *bases])) in capsys.readouterr().out
    ours = open_run(run).model.bank
    ids, expert = torch.arange(10).view(2, 5), torch.full((2,), EXPERTS.index("vqa"))
    with torch.no_grad():
        theirs = AutoPeftModelForCausalLM.from_pretrained(out / "vqa").eval()(input_ids=ids).logits
        states = ours(ours.embed(ids, expert), torch.ones_like(ids).bool(), expert).hidden
        torch.testing.assert_close(ours.logits(states, expert), theirs, atol=1e-5, rtol=1e-5)


def test_a_training_begins_with_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    export(tiny_run(tmp_path / "old", *CALM), tmp_path / "out", monkeypatch)
    config: dict[str, Any] = small_training(f"adapters={{vqa:{tmp_path}/out/vqa}}")
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match=r"'experts' copies its first adapter .* stage\.experts\.upcycle=false"):
        train(config, tmp_path / "new")
    config["stage"]["experts"]["upcycle"] = False
    for stage in config["stage"].values():
        stage["train"] = ["vision"]  # adapters rest
    for key in ("dense", "experts"):
        config["stage"][key]["lr_groups"] = {}
    train(config, tmp_path / "new")
    old, new = (load_checkpoint(tmp_path / run)["state_dict"] for run in ("old", "new"))
    at = EXPERTS.index("vqa")
    layers = [name for name in old if name.endswith("lora_B")]
    assert layers
    for name in layers:
        assert bool(old[name][at].any())
        torch.testing.assert_close(new[name][at], old[name][at])
        assert not new[name][0].any()  # the others begin anew
    assert json.loads((tmp_path / "new" / "metrics.json").read_text())["results"]


def test_names_and_folders_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    (tmp_path / "new").mkdir()
    for given, message in (("{vqaa:x}", "unknown expert in adapters 'vqaa'. Did you mean 'vqa'"),
                           ("{vqa:x}", "no adapter_config.json in x")):  # fmt: skip
        config = small_training(f"adapters={given}", "stage.experts.upcycle=false")
        with pytest.raises(UserError, match=message):
            train(config, tmp_path / "new")
    with pytest.raises(UserError, match=r"adapters=vqa: expected names of experts with a folder each"):
        checked("train", ["adapters=vqa"])
