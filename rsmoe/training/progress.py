"""What a person watches while a stage trains: stage, step, loss, samples/s, ETA."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch import Tensor

WINDOW = 50
"""Batches that loss and speed are averaged over."""


class StageProgress(ProgressBar):
    """A progress bar on a terminal, a plain line every ``interval_s`` seconds elsewhere (log file, CI, SLURM).

    Loss and speed are running means over the last `WINDOW` batches; losses stay on their device until they are
    shown. Samples are ``len(batch)``, times the number of ranks. Rank 0 prints, the others are silent.

    Args:
        stage: name shown first ("stage 1: perception").
        interval_s: seconds between two lines when the console is not a terminal.
        console: where to write; standard output by default.
    """

    def __init__(self, *, stage: str, interval_s: float = 15.0, console: Console | None = None) -> None:
        super().__init__()
        self.stage = stage
        self._interval_s = interval_s
        self._console = console or Console()
        self._losses: deque[Tensor] = deque(maxlen=WINDOW)
        self._speed: deque[tuple[float, int, int]] = deque(maxlen=WINDOW + 1)  # (time, samples so far, step)
        self._samples = 0
        self._shown_at = 0.0
        self._enabled = True
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def enable(self) -> None:
        """Print again after `disable`."""
        self._enabled = True

    def disable(self) -> None:
        """Print nothing; Lightning calls this on ranks above 0."""
        self._enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print a line above the bar."""
        self._console.print(*args, **kwargs)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar at the step that training resumes from."""
        self._losses.clear()
        self._restart_clock(trainer)
        if not self._enabled:
            return
        sizes = [(p.numel(), p.requires_grad) for p in pl_module.parameters()]
        trains, whole = (sum(size for size, grad in sizes if grad or every) for every in (False, True))
        self._console.print(f"{self.stage}: {trains:,} of {whole:,} parameters train", markup=False, highlight=False)
        if not (self._console.is_interactive or self._console.is_jupyter):
            return
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[facts]}", markup=False),
            console=self._console,
            expand=True,
            refresh_per_second=4,
        )
        self._bar.start()
        self._task = self._bar.add_task(self.stage, total=_total_steps(trainer), facts="")
        self._bar.update(self._task, completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; show it when it is time."""
        if not self._enabled:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            # Lightning hands out the loss divided by the number of accumulated batches
            self._losses.append(loss.detach() * trainer.accumulate_grad_batches)
        now = time.monotonic()
        self._samples += len(batch) * trainer.world_size
        self._speed.append((now, self._samples, trainer.global_step))
        last = trainer.global_step == _total_steps(trainer)
        if last or now - self._shown_at >= (0.25 if self._bar else self._interval_s):
            self._show(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say why the bar stands still."""
        if self._bar:
            self._bar.update(self._task, description=f"{self.stage} (validating)")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the time of validation out of samples/s."""
        if self._bar:
            self._bar.update(self._task, description=self.stage)
        self._restart_clock(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        self._close(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the terminal back, on Ctrl-C too."""
        self._close(trainer)

    def _restart_clock(self, trainer: L.Trainer) -> None:
        self._speed.clear()
        self._speed.append((time.monotonic(), self._samples, trainer.global_step))
        self._shown_at = max(self._shown_at, self._speed[0][0])

    def _close(self, trainer: L.Trainer) -> None:
        if self._bar:
            if len(self._speed) > 1:  # batches that were not shown yet
                self._show(trainer)
            self._bar.stop()
            self._bar = None

    def _show(self, trainer: L.Trainer) -> None:
        self._shown_at = time.monotonic()
        step, total = trainer.global_step, _total_steps(trainer)
        facts = [f"step {step}" if total is None else f"step {step}/{total}"]
        if self._losses:
            facts.append(f"loss {torch.stack(tuple(self._losses)).mean().item():.4g}")
        (start, samples_then, step_then), (end, samples_now, step_now) = self._speed[0], self._speed[-1]
        if end > start:
            facts.append(f"{(samples_now - samples_then) / (end - start):.3g} samples/s")
            if total is not None and step_now > step_then:
                facts.append(f"ETA {_clock((total - step) * (end - start) / (step_now - step_then))}")
        line = "  ".join(facts)
        if self._bar:
            self._bar.update(self._task, completed=step, facts=line)
        else:
            self._console.print(f"{self.stage}: {line}", markup=False, highlight=False, soft_wrap=True)


def _total_steps(trainer: L.Trainer) -> int | None:
    """Optimizer steps of this fit, None when it has no end (bounded by time, or an endless dataset)."""
    total = trainer.estimated_stepping_batches
    return None if total == float("inf") or total < 0 else int(total)


def _clock(seconds: float) -> str:
    """90.0 -> "1:30"; hours when there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
