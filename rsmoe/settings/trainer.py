"""Keys of ``trainer``, see ``lightning.pytorch.Trainer``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from rsmoe.errors import require_known
from rsmoe.settings.model import OpenSettings
from rsmoe.settings.types import Devices, Name, NotNegative, Number

PRECISIONS = Literal[
    "32", "32-true", "64", "64-true", "16", "16-mixed", "16-true", "bf16", "bf16-mixed", "bf16-true",
    "transformer-engine", "transformer-engine-float16",
]  # fmt: skip


class Trainer(OpenSettings):
    """Devices, precision, and whatever else Lightning's trainer takes."""

    others: ClassVar[tuple[str, ...]] = (
        "accumulate_grad_batches", "barebones", "benchmark", "callbacks", "default_root_dir", "detect_anomaly",
        "deterministic", "enable_autolog_hparams", "enable_checkpointing", "enable_model_summary",
        "enable_progress_bar", "fast_dev_run", "gradient_clip_algorithm", "inference_mode",
        "limit_predict_batches", "limit_test_batches", "limit_train_batches", "limit_val_batches", "log_every_n_steps",
        "logger", "max_epochs", "max_steps", "max_time", "min_epochs", "min_steps", "model_registry",
        "num_sanity_val_steps", "overfit_batches", "plugins", "profiler", "reload_dataloaders_every_n_epochs",
        "strategy", "sync_batchnorm", "use_distributed_sampler", "val_check_interval", "check_val_every_n_epoch",
    )  # fmt: skip
    """Names of Lightning's keys that are handed on as they are, written down so that a typo is found without torch."""

    target: str = Field(alias="_target_", description="the class")
    accelerator: Name = Field(description="cpu, gpu, auto ...")
    devices: Devices = Field(description="processes on each machine; auto: all devices")
    num_nodes: Number | None = Field(None, description="machines")
    precision: PRECISIONS | Literal[16, 32, 64] | None = Field(None, description="32-true, bf16-mixed, 16-mixed ...")
    accumulate_grad_batches: Number | None = Field(None, description="batches a step")
    gradient_clip_val: NotNegative | None = Field(None, description="largest gradient norm; 0: any, null: 1.0")

    def model_post_init(self, context: Any) -> None:
        """Names that Lightning does not know."""
        if self.target == "lightning.pytorch.Trainer":
            known = [f.alias or name for name, f in type(self).model_fields.items()]
            require_known("key under 'trainer'", *(self.model_extra or {}), known=[*known, *self.others])
