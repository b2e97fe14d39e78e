"""Throughput as a curve: samples a second over all processes."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import lightning.pytorch as pl

from rsmoe.training.progress import WINDOW


class Throughput(pl.Callback):
    """Logs ``train/samples_per_s``, a running mean over the last `WINDOW` batches; validation is not counted."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, int]] = deque(maxlen=WINDOW + 1)  # (time, samples so far)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._ends.clear()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the batch."""
        samples = len(batch) * trainer.world_size
        self._ends.append((time.monotonic(), samples + (self._ends[-1][1] if self._ends else 0)))
        (start, before), (end, after) = self._ends[0], self._ends[-1]
        if end > start:  # from the second batch on: the first one is also the start of everything
            pl_module.log("train/samples_per_s", (after - before) / (end - start), batch_size=1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock anew."""
        self._ends.clear()
