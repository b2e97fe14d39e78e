"""Validation during training: it changes nothing, stops where asked, keeps the best weights, and survives a kill."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from support.models import codecs, requests, tiny_config, tiny_model
from support.runs import DENSE, DROPOUT, EXPERTS, TRAINER, Killed, Listed, at_step, equal, kill

from rsmoe.data.datamodule import RSDataModule
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.checkpoints import load_checkpoint
from rsmoe.training.run import run_stages
from rsmoe.training.validation import Means, Validation

assert at_step  # a fixture
OFTEN = Validation(every=2, limit=None)
BEST = {"_target_": "rsmoe.training.best_weights.BestWeights"}
STOP = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/loss", "mode": "min", "patience": 1}


def run(
    folder: Path, *stages: Stage, validation: Validation | None = OFTEN, resume: Path | None = None,
    callbacks: dict[str, Any] | None = None, trainer: dict[str, Any] | None = None, val: bool = True, every: int = 2,
) -> RSMoE:  # fmt: skip
    codec, words = codecs()
    model = tiny_model(*DROPOUT, scrambled=False)
    data = RSDataModule(
        train={"hand": Listed(requests())}, val={"hand": Listed(requests()[:7])} if val else None, codec=codec,
        instruction_codec=words, seed=3, image_size=32, mean=(0.5,) * 3, std=(0.25,) * 3, eval_batch_size=3,
    )  # fmt: skip
    run_stages(
        model=model, data=data, stages=stages, folder=folder, seed=3,
        hparams={"config": tiny_config(*DROPOUT), "codec": codec.state(), "instruction_codec": words.state()},
        trainer=TRAINER | {"log_every_n_steps": 1} | (trainer or {}), logger=CSVLogger(folder, name="", version=""),
        checkpoint_every=every, resume=resume, validation=validation, callbacks=callbacks,
    )  # fmt: skip
    return model


def curve(folder: Path, name: str) -> dict[int, float]:
    with (folder / "metrics.csv").open() as lines:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(lines) if row.get(name)}


def header(folder: Path) -> list[str]:
    return (folder / "metrics.csv").read_text().splitlines()[0].split(",")


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> tuple[RSMoE, Path]:
    folder = tmp_path_factory.mktemp("validated")
    return run(folder, DENSE, EXPERTS), folder


def test_it_changes_nothing_and_goes_on_over_stages(validated: tuple[RSMoE, Path], tmp_path: Path) -> None:
    model, folder = validated
    assert equal(model, run(tmp_path, DENSE, EXPERTS, validation=None))
    loss = curve(folder, "val/loss")
    assert list(loss) == [1, 3, 6, 8]  # behind steps 2 and 4 of five, of each stage
    assert list(curve(folder, "val/router/accuracy")) == [6, 8]
    assert {"val/text", "val/mask_bce"} <= set((folder / "metrics.csv").read_text().split("\n")[0].split(","))
    text = curve(folder, "val/text")
    assert text[3] < text[1] and all(value > 0 for value in loss.values())
    assert "val/loss" not in header(tmp_path)


def test_a_short_stage_is_validated_once_and_a_limit_spreads(tmp_path: Path) -> None:
    run(tmp_path, replace(DENSE, steps=2), validation=Validation(every=100, limit=4))
    assert list(curve(tmp_path, "val/loss")) == [1]
    # four of seven, all over them: captions, a question and a mask, no retrieval
    expected = {"val/loss", "val/text", "val/mask_bce", "val/mask_dice"}
    assert {name for name in header(tmp_path) if name.startswith("val/")} == expected


LONG = replace(DENSE, steps=9, losses={"text": 1.0})
HIGHEST = {"stop": STOP | {"mode": "max"}, "best": BEST | {"mode": "max"}}
"""The loss falls: so the first validation has the highest, and the second one stops the stage."""


def test_early_stopping_ends_the_stage_with_its_best_weights(
    tmp_path: Path, at_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = replace(EXPERTS, steps=2, losses={"text": 1.0}, losses_until={})
    run(tmp_path / "whole", LONG, calm, callbacks=HIGHEST)
    loss = curve(tmp_path / "whole", "val/loss")
    assert list(loss) == [1, 3, 10] and loss[3] < loss[1]  # it stopped; the axis goes on where the stage would end
    ended = load_checkpoint(tmp_path / "whole" / "checkpoints" / "1-dense.ckpt")
    assert ended["stage_over"] and ended["global_step"] == 4
    at_step(0, 2, kill)
    with pytest.raises(Killed):
        run(tmp_path / "killed", LONG, callbacks=HIGHEST)
    monkeypatch.undo()
    best = load_checkpoint(tmp_path / "killed" / "checkpoints" / "last.ckpt")
    assert best["global_step"] == 2
    assert all(torch.equal(value, best["state_dict"][name]) for name, value in ended["state_dict"].items())
    # a run that goes on from its end begins the next stage
    start = tmp_path / "whole" / "checkpoints" / "1-dense.ckpt"
    model = run(tmp_path / "on", LONG, calm, callbacks=HIGHEST, resume=start)
    theirs = load_checkpoint(tmp_path / "whole" / "checkpoints" / "2-experts.ckpt")["state_dict"]
    assert all(torch.equal(value, theirs[f"model.{name}"]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("step", [2, 3, 6])
def test_a_killed_run_continues_with_its_best(
    step: int, tmp_path: Path, at_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks = {"stop": STOP | {"mode": "max", "patience": 3}, "best": BEST}
    whole = run(tmp_path / "whole", LONG, callbacks=callbacks)
    at_step(0, step, kill)
    with pytest.raises(Killed):
        run(tmp_path / "killed", LONG, callbacks=callbacks)
    monkeypatch.undo()
    again = run(tmp_path / "again", LONG, callbacks=callbacks, resume=tmp_path / "killed")
    assert equal(whole, again)
    before, after = (curve(tmp_path / name, "val/loss") for name in ("whole", "again"))
    assert after == {step: value for step, value in before.items() if step in after} and max(after) == max(before)


def test_accumulated_batches_are_validated_by_step(tmp_path: Path) -> None:
    run(tmp_path, replace(DENSE, steps=4), trainer={"accumulate_grad_batches": 2})
    assert list(curve(tmp_path, "val/loss")) == [1, 3]


def test_a_callback_that_waits_for_nothing_is_refused(tmp_path: Path) -> None:
    for options in ({"validation": None}, {"val": False}):
        with pytest.raises(UserError, match=r"callback.stop.monitor=val/loss, .*corpus.<name>.splits.val=val"):
            run(tmp_path, DENSE, callbacks={"stop": STOP}, **options)
    with pytest.raises(UserError, match=r"'val/lost'. Did you mean 'val/loss'"):
        run(tmp_path, DENSE, callbacks={"best": BEST | {"monitor": "val/lost"}})
    with pytest.raises(UserError, match="trainer.val_check_interval=3 .* Give validation.every"):
        run(tmp_path, DENSE, trainer={"val_check_interval": 3})


def test_means_weigh_samples_and_skip_what_is_absent() -> None:
    means = Means()
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(4.0)}, 1)
    means.add({"a": torch.tensor(3.0)}, 3)
    assert means.take() == {"a": 2.5, "b": 4.0}
    assert means.take() == {}
