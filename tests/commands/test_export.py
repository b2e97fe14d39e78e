"""A model out as safetensors and PEFT folders by a command, and experts in by a word of a training."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from support.checkpoints import CALM, tiny_run
from support.models import batch_of
from support.small_training import small_training
from transformers import AutoTokenizer

import rsmoe
from rsmoe.cli.check import checked
from rsmoe.commands.export import cli
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
    files = sorted([*EXPERTS, *bases, "README.md", "config.json", "model.safetensors"])
    assert sorted(p.name for p in out.iterdir()) == files
    assert ", ".join(files) in capsys.readouterr().out
    ours = open_run(run).model.bank
    ids, expert = torch.arange(10).view(2, 5), torch.full((2,), EXPERTS.index("vqa"))
    with torch.no_grad():
        theirs = AutoPeftModelForCausalLM.from_pretrained(out / "vqa").eval()(input_ids=ids).logits
        states = ours(ours.embed(ids, expert), torch.ones_like(ids).bool(), expert).hidden
        torch.testing.assert_close(ours.logits(states, expert), theirs, atol=1e-5, rtol=1e-5)
    _check_card(out, several=bank == "separate")
    words = AutoTokenizer.from_pretrained(out / bases[EXPERTS.index("vqa") if bank == "separate" else 0])
    assert words("a ship")["input_ids"] == open_run(run).codec.encode("a ship")


def test_token_routing_has_no_adapters_to_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_run(tmp_path / "run", *CALM, "moe=token", "router=uniform")
    with pytest.raises(SystemExit, match="save_pretrained"):
        export(run, tmp_path / "out", monkeypatch)
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    whole = rsmoe.load(run, device="cpu")
    whole.save_pretrained(tmp_path / "whole")
    again = rsmoe.load(tmp_path / "whole", device="cpu")
    assert again.ask(picture, "how many ?").text == whole.ask(picture, "how many ?").text != ""


def _check_card(out: Path, *, several: bool) -> None:
    """A card that the hub reads, whose commands name what is there."""
    card = ModelCard.load(out / "README.md")
    assert card.data.library_name == "rsmoe" and card.data.pipeline_tag == "image-text-to-text"
    found = re.search(
        r"vllm serve (\S+) .*--max-lora-rank (\d+) --max-loras (\d+) --lora-modules (.*)", card.text.replace("\\\n", "")
    )
    if several:
        assert found is None  # each has a base of its own
        return
    assert found is not None
    base, rank, count, modules = found.groups()
    own = json.loads((out / "vqa" / "adapter_config.json").read_text())["r"]
    assert (out / base / "config.json").is_file() and int(rank) >= own and int(count) == len(EXPERTS)
    pairs = dict(module.split("=") for module in modules.split())
    assert list(pairs) == EXPERTS and all((out / path / "adapter_config.json").is_file() for path in pairs.values())


def test_the_folder_is_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_run(tmp_path / "run", *CALM)
    export(run, tmp_path / "out", monkeypatch)
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    before, after = (rsmoe.load(place, device="cpu").ask(picture, "how many ?") for place in (run, tmp_path / "out"))
    assert before.text == after.text != "" and before.routing == pytest.approx(after.routing, abs=1e-5)


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


def test_adapters_that_were_trained_apart_become_a_routed_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three trainings of one adapter each on one dense model, three folders, and a training of the router alone."""
    monkeypatch.delenv("RSMOE_DATA", raising=False)

    def trained(name: str, *words: str) -> Path:
        (tmp_path / name).mkdir()
        train(small_training(*words), tmp_path / name)
        return tmp_path / name

    dense = trained("start", "moe=none", "router=uniform", "stage.experts.steps=0")
    onward = (f"start={dense}", "stage.dense.steps=0", "stage.experts.warmup=0")
    alone, folders = {}, {}
    for expert, data in {"theme": "described", "vqa": "questions", "mask": "asked"}.items():
        own = ("moe=none", "router=uniform", "stage.experts.lr=0.3", f"+stage.experts.mix={{{data}:1.0}}")
        alone[expert] = trained(expert, *onward, *own, "stage.experts.train=['*lora_*']")
        export(alone[expert], tmp_path / "out" / expert, monkeypatch)
        folders[expert] = tmp_path / "out" / expert / "dense"
    given = ",".join(f"{name}:{folder}" for name, folder in folders.items())
    whole = trained(
        "routed", *onward, f"adapters={{{given}}}", "stage.experts.upcycle=false", "stage.experts.train=[router]"
    )
    routed, batch = open_run(whole), batch_of("caption", "vqa")
    with torch.no_grad():
        for expert, run in alone.items():
            one = open_run(run).model.read(batch).log_probability
            routing = routed.model.perceive(batch).routing
            itself = torch.tensor([name == expert for name in routed.model.names])
            seen = replace(routed.model.perceive(batch), routing=routing.only(itself))
            same = routed.model.read(batch, seen).log_probability
            torch.testing.assert_close(same[batch.response_mask], one[batch.response_mask], atol=1e-4, rtol=1e-4)
            other = torch.tensor([name == "object" for name in routed.model.names])  # it began anew
            base = routed.model.read(batch, replace(seen, routing=routing.only(other))).log_probability
            assert (base - one)[batch.response_mask].abs().max() > 1e-2


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
