"""The progress of a stage, on a terminal and in a log."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from rsmoe.training.progress import StageProgress, _clock

# the toy has a validation step; not every test gives it data
pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`")


class _Toy(L.LightningModule):
    """Loss k + 1 at the k-th batch."""

    def __init__(self, *, fail_at: int = -1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.fail_at = fail_at

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if batch_idx == self.fail_at:
            raise KeyboardInterrupt
        return self.weight * 0 + batch_idx + 1

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        assert len(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class _Endless(IterableDataset[Tensor]):
    def __iter__(self) -> Any:
        while True:
            yield torch.zeros(2)


def _fit(tmp_path: Path, *, terminal: bool, interval_s: float = 0.0, fail_at: int = -1, **trainer: Any) -> str:
    out = io.StringIO()
    progress = StageProgress(
        stage="stage 1: [perception]",
        interval_s=interval_s,
        console=Console(file=out, force_terminal=terminal, width=200, color_system=None),
    )
    settings: dict[str, Any] = {"max_epochs": 1, "limit_val_batches": 1} | trainer
    L.Trainer(
        callbacks=[progress],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        **settings,
    ).fit(_Toy(fail_at=fail_at), DataLoader(torch.zeros(12, 2), batch_size=4), DataLoader(torch.zeros(4, 2)))
    return out.getvalue()


def test_log_has_stage_step_loss_speed_and_eta(tmp_path: Path) -> None:
    first, *lines = _fit(tmp_path, terminal=False).splitlines()
    assert first == "stage 1: [perception]: 1 of 1 parameters train" and len(lines) == 3
    for step, (line, loss) in enumerate(zip(lines, ("1", "1.5", "2"), strict=True), start=1):
        pattern = rf"stage 1: \[perception\]: step {step}/3  loss {loss}  \S+ samples/s  ETA \d+:\d\d"
        assert re.fullmatch(pattern, line), line


def test_log_is_sparse_but_always_has_the_last_step(tmp_path: Path) -> None:
    (_, line) = _fit(tmp_path, terminal=False, interval_s=3600.0).splitlines()
    assert "step 3/3" in line


def test_loss_is_not_divided_by_accumulated_batches(tmp_path: Path) -> None:
    lines = _fit(tmp_path, terminal=False, accumulate_grad_batches=3).splitlines()
    assert "step 1/1  loss 2 " in lines[-1]


def test_terminal_shows_a_bar_with_the_same_facts(tmp_path: Path) -> None:
    shown = _fit(tmp_path, terminal=True)
    assert "stage 1: [perception]" in shown
    assert re.search(r"step 3/3  loss 2  \S+ samples/s", shown)


def test_ctrl_c_gives_the_terminal_back(tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    progress = StageProgress(stage="s", console=console)
    trainer = L.Trainer(
        callbacks=[progress], accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        max_epochs=1, default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer.fit(_Toy(fail_at=1), DataLoader(torch.zeros(12, 2), batch_size=4))
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1  # cursor hidden, then shown


def test_endless_training_has_no_total(tmp_path: Path) -> None:
    out = io.StringIO()
    trainer = L.Trainer(
        callbacks=[StageProgress(stage="s", interval_s=0.0, console=Console(file=out, force_terminal=False))],
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        max_epochs=-1, max_time={"seconds": 1}, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(_Toy(), DataLoader(_Endless(), batch_size=2))
    assert re.search(r"^s: step 1  loss 1  \S+ samples/s$", out.getvalue(), re.MULTILINE)


def test_other_ranks_are_silent(tmp_path: Path) -> None:
    out = io.StringIO()
    progress = StageProgress(stage="s", interval_s=0.0, console=Console(file=out, force_terminal=False))
    progress.disable()
    L.Trainer(
        callbacks=[progress], accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        max_epochs=1, default_root_dir=tmp_path,
    ).fit(_Toy(), DataLoader(torch.zeros(12, 2), batch_size=4))  # fmt: skip
    assert out.getvalue() == ""


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, "0:00"), (90.4, "1:30"), (3725.0, "1:02:05")])
def test_clock(seconds: float, shown: str) -> None:
    assert _clock(seconds) == shown
