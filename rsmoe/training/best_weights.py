"""The weights of the best validation of a stage, which the stage ends with."""

from __future__ import annotations

from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor

from rsmoe.errors import unknown_name


class BestWeights(pl.Callback):
    """Keeps what trains, and the running statistics, of the best validation, and puts it back when the stage ends.

    So the checkpoint of the stage, the stages behind it and the evaluation have the best weights. They are part of
    ``last.ckpt``: a run that was interrupted continues with them. They take as much memory of the processor, and of
    ``last.ckpt``, as the weights that train.

    Args:
        monitor: curve of the validation, "val/loss".
        mode: whether its lowest or its highest value is the best.
    """

    def __init__(self, *, monitor: str = "val/loss", mode: Literal["min", "max"] = "min") -> None:
        self.monitor, self.mode = monitor, mode
        self.value: float | None = None
        self.step = 0
        self._weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the weights where the curve is at its best so far."""
        if self.monitor not in trainer.callback_metrics:
            known = [name for name in trainer.callback_metrics if name.startswith("val/")]
            raise unknown_name("curve of the validation in callback.best_weights.monitor", self.monitor, known)
        now = float(trainer.callback_metrics[self.monitor])
        if self.value is None or (now < self.value if self.mode == "min" else now > self.value):
            self.value, self.step = now, trainer.global_step
            self._weights = {name: value.detach().cpu().clone() for name, value in _changing(pl_module).items()}

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the best weights back."""
        for name, value in _changing(pl_module).items():
            if name in self._weights:
                value.data.copy_(self._weights[name])
        if self._weights:
            trainer.print(f"the weights of step {self.step} are the best: {self.monitor} {self.value:.4g}")
        self._weights = {}

    def state_dict(self) -> dict[str, Any]:
        """For ``last.ckpt``."""
        return {"value": self.value, "step": self.step, "weights": self._weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of a run that continues."""
        self.value, self.step, self._weights = state_dict["value"], state_dict["step"], state_dict["weights"]


def _changing(module: torch.nn.Module) -> dict[str, Tensor]:
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    return trained | dict(module.named_buffers())
