"""Weights that cannot be used are refused before a corpus is drawn or read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.checkpoints import tiny_run

import rsmoe.data.corpus
import rsmoe.train

CALM = ("temporal.dropout=0.0",)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sources")
    run = tiny_run(home / "run", *CALM, steps=1)
    Image.new("RGB", (8, 8)).save(home / "a.png")
    (home / "text.ckpt").write_text("weights")
    (home / "empty").mkdir()
    whole: dict[str, Any] = torch.load(next((run / "checkpoints").glob("*.ckpt")), weights_only=True)

    def changed(name: str, change: Callable[[str, torch.Tensor], tuple[str, torch.Tensor]]) -> None:
        state = dict(change(key, value) for key, value in whole["state_dict"].items())
        torch.save({**whole, "state_dict": state}, home / name)

    changed("names.ckpt", lambda key, value: (f"{key}_", value))
    changed("shapes.ckpt", lambda key, value: (key, value[:1] if key.endswith("to_lm.weight") else value))
    torch.save({"state_dict": {"a": torch.zeros(3)}}, home / "other.ckpt")
    return home


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("start={home}/none", "start=.*none: no checkpoint at"),
        ("start={home}/empty", "start=.*: no checkpoint in"),
        ("start={home}/a.png", "start=.*a.png is not a readable checkpoint"),
        ("start={home}/text.ckpt", "start=.*is not a readable checkpoint"),
        ("start={home}/other.ckpt", "start=.*was not written by rsmoe.train"),
        ("start={home}/names.ckpt", "start=.*no weight of that checkpoint has a place in this model"),
        ("resume={home}/names.ckpt", "resume=.*of another model: .* missing, first: .* unknown, first: "),
        ("resume={home}/shapes.ckpt", r"resume=.*1 shapes differ, first: to_lm.weight \(1, 16\) here \(16, 16\)"),
    ],
)
def test_no_corpus_is_built_for_wrong_weights(
    word: str, message: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    monkeypatch.setattr(rsmoe.data.corpus, "build_corpus", lambda *args, **_: built.append("corpus"))
    with pytest.raises(SystemExit) as stop:
        rsmoe.train.cli([word.format(home=home), f"hydra.run.dir={tmp_path}"])
    assert not built and str(stop.value.code).startswith("error: ")
    assert re.search(message, str(stop.value.code)), stop.value.code


@pytest.mark.parametrize("word", ["start={home}/run", "resume={home}/run"])
def test_right_weights_come_to_the_corpus(
    word: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*args: Any, **_: Any) -> None:
        raise Reached

    class Reached(Exception):
        pass

    monkeypatch.setattr(rsmoe.data.corpus, "build_corpus", build)
    with pytest.raises(Reached):
        rsmoe.train.cli([word.format(home=home), f"hydra.run.dir={tmp_path}"])
