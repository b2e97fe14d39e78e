"""trainer.accumulate_grad_batches: every batch is read once, with a seed of its own, and a run goes on bit for bit."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from support.precision import trained, trainer
from support.runs import DENSE, EXPERTS, Killed, equal, kill, signals

from rsmoe.data.batch import Batch
from rsmoe.training.interruption import Interruption
from rsmoe.training.module import StageModule
from rsmoe.training.run import load_checkpoint

assert signals  # a fixture
STAGE = replace(EXPERTS, steps=4, batch_size=2, upcycle=False, losses_until={"label": 2})
Seen = list[tuple[int, tuple[str, ...], int]]


def every(count: int, *more: str) -> dict[str, Any]:
    return trainer(f"trainer.accumulate_grad_batches={count}", *more)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Step, ids of the samples, and seed of dropout, of every batch that was trained on."""
    found: Seen = []
    real = StageModule.training_step

    def training_step(module: StageModule, batch: Batch, batch_idx: int) -> Any:
        found.append((module.trainer.global_step, tuple(s.id for s in batch.samples), torch.initial_seed()))
        return real(module, batch, batch_idx)

    monkeypatch.setattr(StageModule, "training_step", training_step)
    return found


def at(place: int, action: Any) -> pytest.MonkeyPatch:
    """Does something in the middle of the batch of that number, counted from 0."""
    patch, real, count = pytest.MonkeyPatch(), StageModule.training_step, [0]

    def training_step(module: StageModule, batch: Batch, batch_idx: int) -> Any:
        out = real(module, batch, batch_idx)
        count[0] += 1
        if count[0] == place + 1:
            action()
        return out

    patch.setattr(StageModule, "training_step", training_step)
    return patch


def test_batches_follow_each_other_as_in_one_large_batch(tmp_path: Path, seen: Seen) -> None:
    trained(tmp_path / "three", STAGE, of=every(3))
    small = list(seen)
    seen.clear()
    trained(tmp_path / "one", replace(STAGE, batch_size=6), of=every(1))
    assert [step for step, _, _ in small] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert len({seed for _, _, seed in small}) == 12
    joined = [sum((ids for step, ids, _ in small if step == k), ()) for k in range(4)]
    assert joined == [ids for _, ids, _ in seen]
    # a run without accumulation has the seeds that it always had
    assert [seed for _, _, seed in seen] == [hash((3, 0, step, 0)) % 2**63 for step in range(4)]


def test_everything_is_scheduled_by_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, labels, real = [], [], StageModule.log_dict

    def log_dict(module: StageModule, values: Any, **options: Any) -> None:
        if "train/lr" in values:
            rates.append(float(values["train/lr"]))
        real(module, values, **options)

    def on_train_batch_end(module: StageModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        labels.append(module.trainer.global_step)

    monkeypatch.setattr(StageModule, "log_dict", log_dict)
    monkeypatch.setattr(StageModule, "on_train_batch_end", on_train_batch_end, raising=False)
    trained(tmp_path, STAGE, of=every(2))
    assert rates == [rates[k // 2 * 2] for k in range(8)] and len(set(rates)) == 4
    assert labels == [0, 1, 1, 2, 2, 3, 3, 4]
    saved = load_checkpoint(tmp_path)
    assert saved["global_step"] == 4
    assert [note["step"] for note in saved["router_trace"]] == [0, 1, 2, 3]  # once a step


@pytest.mark.parametrize("place", [4, 6, 7, 11])
def test_a_killed_run_goes_on_bit_for_bit(place: int, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", STAGE, of=every(3), overrides=("bank.dropout=0.2",), checkpoint_every=1)
    patch = at(place, kill)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", STAGE, of=every(3), overrides=("bank.dropout=0.2",), checkpoint_every=1)
    patch.undo()
    assert load_checkpoint(tmp_path / "killed")["global_step"] == place // 3
    again = trained(
        tmp_path / "again", STAGE, of=every(3), overrides=("bank.dropout=0.2",), checkpoint_every=1,
        resume=tmp_path / "killed",
    )  # fmt: skip
    assert equal(again, whole)


@pytest.mark.usefixtures("signals")
def test_ctrl_c_between_two_batches_of_a_step_waits_for_its_last(tmp_path: Path) -> None:
    stage = replace(DENSE, steps=3, batch_size=2)  # batch statistics move with every batch
    whole = trained(tmp_path / "whole", stage, of=every(3), checkpoint_every=100)
    patch = at(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained(tmp_path / "stopped", stage, of=every(3), checkpoint_every=100)
    patch.undo()
    assert load_checkpoint(tmp_path / "stopped")["global_step"] == 2
    assert equal(trained(tmp_path / "again", stage, of=every(3), resume=tmp_path / "stopped"), whole)


class _Early(pl.Callback):
    """Saves where nothing of ours does: after every batch, as a clock would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.fit_loop.total_batch_idx}.ckpt")


@pytest.mark.parametrize("place", [3, 4, 5, 6])
def test_a_checkpoint_inside_of_a_step_begins_that_step_anew(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    stage = replace(STAGE, steps=3, freeze_batch_norm=True)
    real = Interruption.on_train_batch_end

    def both(self: Interruption, trainer: pl.Trainer, *args: Any) -> None:
        _Early(tmp_path / "clock").on_train_batch_end(trainer)
        real(self, trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "on_train_batch_end", both)
        whole = trained(tmp_path / "whole", stage, of=every(3))
    before = list(seen)
    seen.clear()
    again = trained(tmp_path / "again", stage, of=every(3), resume=tmp_path / "clock" / f"{place}.ckpt")
    assert seen == before[(place + 1) // 3 * 3 :]
    assert equal(again, whole)


def test_another_number_of_batches_goes_on_after_the_steps_that_were_made(tmp_path: Path, seen: Seen) -> None:
    trained(tmp_path / "first", replace(STAGE, steps=2), of=every(1), checkpoint_every=1)
    seen.clear()
    # more steps of the stage, two batches each: the first batch that is read is number 2 * 2
    model = trained(tmp_path / "then", STAGE, of=every(2), resume=tmp_path / "first" / "checkpoints" / "last.ckpt")
    assert [step for step, _, _ in seen] == [2, 2, 3, 3] and model is not None
    assert load_checkpoint(tmp_path / "then")["global_step"] == 4
