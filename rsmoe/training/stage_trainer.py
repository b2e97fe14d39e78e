"""The trainer of one stage: what the config says of it, and what a stage decides."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import Logger

from rsmoe.errors import UserError
from rsmoe.parts import instantiate
from rsmoe.training.checkpoint_io import WholeFileIO
from rsmoe.training.interruption import Interruption
from rsmoe.training.precision import precision_options
from rsmoe.training.progress import StageProgress
from rsmoe.training.throughput import Throughput

_DECIDED = {
    "max_steps": "stage.<name>.steps",
    "max_epochs": "stage.<name>.steps",
    "min_steps": "stage.<name>.steps",
    "min_epochs": "stage.<name>.steps",
    "fast_dev_run": "stage.<name>.steps",
    "limit_train_batches": "stage.<name>.steps",
    "overfit_batches": "corpus.<name>.train.size or a data set of your own",
    "reload_dataloaders_every_n_epochs": "stage.<name>.steps",
    "use_distributed_sampler": "nothing: batches are shared between the ranks by themselves",
    "val_check_interval": "validation.every",
    "check_val_every_n_epoch": "validation.every",
    "limit_val_batches": "validation.limit",
    "num_sanity_val_steps": "validation.every",
    "logger": "logger=csv or logger=wandb",
    "enable_checkpointing": "checkpoint_every",
}
"""Keys of a trainer that would cut a stage, or draw its batches again -> what to give instead."""

_KNOWN_WARNINGS = (
    ".*dataloader is not resumable",  # ours starts at the step that is asked for
    ".*in eval mode at the start",  # frozen parts, on purpose
    ".*exists and is not empty",  # the checkpoints of the stages before
    "The dirpath has changed",  # a continued run has a folder of its own
    ".*smaller than the logging interval",
    ".*does not have many workers",
    ".*LeafSpec.* is deprecated",  # its own use of torch
    "Detected call of `lr_scheduler.step\\(\\)` before",  # the gradient scaler of 16-mixed left out the first steps
    "Grad strides do not match bucket view",  # of a map, in a share of a batch without a picture that has it
)
"""Warnings of Lightning, and of its DDP, about what is meant to be so."""


def stage_trainer(
    config: Mapping[str, Any],
    *,
    title: str,
    steps: int,
    callbacks: Sequence[pl.Callback] = (),
    files: WholeFileIO,
    logger: Logger | None,
    folder: Path,
    checkpoint_every: int = 0,
    validate_every: int | None = None,
) -> pl.Trainer:
    """A ``lightning.pytorch.Trainer`` for one stage.

    Args:
        config: of the trainer. Its ``callbacks`` (a list, or name -> callback) and ``plugins`` are added to ours, a
            progress bar among them takes the place of `StageProgress`; ``gradient_clip_val`` null means 1.0,
            ``num_nodes`` null and ``devices`` "auto" what torchrun or SLURM say.
        title: of the stage, in its progress.
        steps: of the optimiser.
        callbacks: beside those of ``config``, called behind them.
        files: writes and reads the checkpoints.
        logger: of the whole run; None for none.
        folder: of the run, for ``checkpoints/last.ckpt``, and for what callbacks and profilers write.
        checkpoint_every: steps between two, see `Interruption`.
        validate_every: steps between two validations; None for none.

    Raises:
        UserError: a key that a stage decides, an unknown precision, an accumulation that is no number of batches.
    """
    for name in ("lightning.pytorch", "lightning.fabric.utilities.distributed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message)
    given = {key: value for key, value in config.items() if value is not None}
    for key, instead in _DECIDED.items():
        if key in given:
            raise UserError(f"trainer.{key}={given[key]} cannot be given: a stage decides it. Give {instead}")
    every = accumulation(config)
    own = [instantiate(node) for node in _listed(given.pop("callbacks", []))]
    if any(isinstance(c, GradientAccumulationScheduler) for c in own):
        raise UserError(
            "trainer.callbacks: GradientAccumulationScheduler changes how many batches make a step within a stage, "
            "and a stage is one epoch. Give trainer.accumulate_grad_batches=<n>"
        )
    ours: list[pl.Callback] = [Throughput(), Interruption(folder / "checkpoints" / "last.ckpt", every=checkpoint_every)]
    if not any(isinstance(c, ProgressBar) for c in (*own, *callbacks)):
        ours.insert(0, StageProgress(stage=title))
    plugins = [instantiate(node) for node in _listed(given.pop("plugins", []))]
    options = precision_options(given)
    defaults = {
        "enable_model_summary": False,
        "log_every_n_steps": 10,
        "gradient_clip_val": 1.0,
        "default_root_dir": str(folder),
    }
    fixed = {
        "max_steps": steps,
        "max_epochs": -1,
        "callbacks": [*own, *callbacks, *ours],
        "plugins": [*plugins, *options["plugins"], files],
        "precision": options["precision"],
        "accumulate_grad_batches": every,
        "num_sanity_val_steps": 0,
        "check_val_every_n_epoch": None,  # a stage is one epoch
        "val_check_interval": None if validate_every is None else validate_every * every,
        "limit_val_batches": 0.0 if validate_every is None else 1.0,
        "logger": logger or False,
        "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in own),  # `Interruption` writes ours
        "use_distributed_sampler": False,
    }
    fit: pl.Trainer = instantiate(defaults | given | launched(given) | fixed)
    return fit


def accumulation(config: Mapping[str, Any]) -> int:
    """``accumulate_grad_batches``: batches that are read for one step of the optimiser.

    Raises:
        UserError: it is no whole number from 1 on.
    """
    every = config.get("accumulate_grad_batches")
    every = 1 if every is None else every
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise UserError(f"trainer.accumulate_grad_batches={every}: expected how many batches make one step, 1 or more")
    return every


def launched(config: Mapping[str, Any]) -> dict[str, Any]:
    """``devices`` and ``num_nodes`` where the config leaves them to whatever started the processes."""
    found: dict[str, Any] = {}
    if TorchElasticEnvironment.detect():
        here, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        found = {"devices": here, "num_nodes": world // here}
    elif SLURMEnvironment.detect():
        found = {"num_nodes": int(os.environ.get("SLURM_NNODES", 1))}
    return {key: value for key, value in found.items() if config.get(key) in (None, "auto")}


def _listed(node: Any) -> list[Any]:
    """A list as it is, and the values of a mapping of names."""
    if isinstance(node, Mapping):
        return [node] if "_target_" in node else [value for value in node.values() if value]
    return list(node)
