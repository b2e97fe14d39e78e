"""Checkpoints between two steps: every so many, and at Ctrl-C or the SIGTERM of a scheduler."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl


class Interruption(pl.Callback):
    """Saves every so many steps. Asked to stop, lets the step under way end, saves, and stops; a second Ctrl-C stops at
    once.

    A checkpoint out of the middle of a step, or between the batches that are accumulated for one, would hold batch
    statistics and perhaps half of an update that the continued run makes again.

    Args:
        path: of the checkpoint.
        every: steps between two; 0: only where it was asked to stop.
    """

    def __init__(self, path: Path, *, every: int = 0) -> None:
        self.path, self.every, self.asked = path, every, False
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts to listen."""
        if threading.current_thread() is threading.main_thread():  # Python takes signals nowhere else
            self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a step saves where it is time, and raises `KeyboardInterrupt` once any rank was asked to stop. A step
        behind which a validation comes is over with that."""
        if not trainer.fit_loop._should_accumulate() and not self._validates(trainer):
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As after a step."""
        self._save(trainer)

    def _validates(self, trainer: pl.Trainer) -> bool:
        every = trainer.val_check_interval  # batches
        batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        return bool(trainer.limit_val_batches) and every is not None and batches % int(every) == 0

    def _save(self, trainer: pl.Trainer) -> None:
        stop = trainer.strategy.reduce_boolean_decision(self.asked, all=False)
        if stop or (self.every and trainer.global_step % self.every == 0):
            trainer.save_checkpoint(self.path)
        if stop:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listens no more; raises `KeyboardInterrupt` where any rank was asked while its last step was saved."""
        self._restore()
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Listens no more."""
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
