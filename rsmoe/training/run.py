"""Runs the stages of a training one after another, and continues a run that was interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from rsmoe.build import built_configs, load_weights
from rsmoe.data.datamodule import RSDataModule
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate
from rsmoe.settings.stage import Stage
from rsmoe.training.checkpoint_io import WholeFileIO, copy_checkpoint
from rsmoe.training.checkpoints import find_checkpoint, load_checkpoint
from rsmoe.training.curves import log_config
from rsmoe.training.instruction_clusters import fit_clusters
from rsmoe.training.left_out import left_out, sizes
from rsmoe.training.module import StageModule
from rsmoe.training.ranks import same_buffers
from rsmoe.training.stage_checks import fitted, trainable
from rsmoe.training.stage_features import stage_features
from rsmoe.training.stage_trainer import stage_trainer
from rsmoe.training.validation import Validation
from rsmoe.trust.checkpoint import check_finite

ADAMW = {"_target_": "torch.optim.AdamW", "betas": [0.9, 0.98]}
"""The optimiser of ``conf/optimizer/adamw.yaml``."""


def run_stages(
    *,
    model: RSMoE,
    data: RSDataModule,
    stages: Sequence[Stage],
    folder: Path,
    seed: int,
    hparams: dict[str, Any],
    trainer: Mapping[str, Any],
    logger: Logger | None,
    checkpoint_every: int,
    resume: Path | None,
    optimizer: Mapping[str, Any] = ADAMW,
    callbacks: Mapping[str, Any] | None = None,
    validation: Validation | None = None,
    features: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Trains ``model`` in place; writes ``checkpoints/<n>-<stage>.ckpt`` after each stage and ``last.ckpt`` during it.

    Afterwards the model is on the trainer's device, the same on every rank, and no parameter is trainable.

    Args:
        hparams: see `StageModule`.
        logger: of all stages; the config in ``hparams`` is logged to it.
        resume: a checkpoint of the same stages, which says in which stage and step it was written.
        optimizer: config of a class of ``torch.optim``.
        callbacks: name -> config of a Lightning callback, built anew for every stage.
        validation: of every stage on the data sets of split "val"; None for none.
        features: options of `stage_features`, which stores a frozen encoder's features; None computes them every step.

    Returns:
        the router's trace: stage, entropy, accuracy and load at each recorded step.

    Raises:
        UserError: unknown parameter patterns or losses, a batch size that the processes cannot divide, a loss that is
            not finite, a checkpoint of another model.
    """
    if not any(stage.steps for stage in stages):
        raise UserError("0 steps in every stage: nothing would be trained. Give stage.<name>.steps=<n>")
    for stage in stages:
        if stage.steps:
            data.check_mix(stage.mix)
    stages = [fitted(model, stage) if stage.steps else stage for stage in stages]
    checkpoints = folder / "checkpoints"
    start, trace, fit = 0, [], None
    loaded = None
    if resume is not None:
        resume = find_checkpoint(resume)
        saved = load_checkpoint(resume)
        loaded = (resume, saved)
        start = int(saved["hyper_parameters"]["stage"])
        if not 0 <= start < len(stages):
            raise UserError(
                f"{resume} is of stage {start + 1}, and this run has {len(stages)} stages: continue it with its own"
            )
        check_finite(saved["state_dict"])
        load_weights(model, saved)
        trace = list(saved["hyper_parameters"].get("trace", []))
        if saved.get("stage_over") or int(saved["global_step"]) >= stages[start].steps:
            trace += saved["router_trace"]
            if not rank_zero_only.rank:  # type: ignore[attr-defined]
                copy_checkpoint(resume, checkpoints / f"{start + 1}-{stages[start].name}.ckpt")
            start, resume = start + 1, None
    if loaded is None:
        fit_clusters(model, data)
    if validation is not None and not data.datasets["val"]:
        validation = None
    _check_monitors(callbacks or {}, validation)
    if logger is not None:
        log_config(logger, hparams)
    dtypes = {name: value.dtype for name, value in model.state_dict().items()}
    computed = {name: value.clone() for name, value in model.named_buffers() if name not in dtypes}
    bases = left_out(model, stages)
    if bases and not rank_zero_only.rank:  # type: ignore[attr-defined]
        print(sizes(model, bases))
    for index, stage in enumerate(stages):
        if index < start or not stage.steps:
            continue
        model.dense = stage.single_expert or model.bank.size == 1
        if stage.upcycle and resume is None and model.bank.size > 1:
            model.bank.upcycle(0)
            model.prompts.upcycle(0)
        trainable(model, stage)
        model.bank.rest()
        own = {"built": built_configs(model), "trace": trace, "dense": model.dense}
        module = StageModule(
            model=model,
            stage=stage,
            index=index,
            seed=seed,
            hparams={**hparams, **own},
            optimizer=optimizer,
            first_step=sum(s.steps for s in stages[:index]),
        )
        fit = stage_trainer(
            trainer,
            title=f"stage {index + 1}/{len(stages)} {stage.name}",
            steps=stage.steps,
            callbacks=[instantiate(node) for node in (callbacks or {}).values()],
            files=WholeFileIO(model=model, bases=bases, loaded=loaded),
            logger=logger,
            folder=folder,
            checkpoint_every=checkpoint_every,
            validate_every=None if validation is None else min(validation.every, stage.steps),
        )
        _check_batch_sizes([s for s in stages[index:] if s.steps], fit.world_size)
        data.stage(stage, index, validated=None if validation is None else validation.limit)
        if features is not None:
            data.train_collate.features = stage_features(
                model,
                data,
                stage,
                device=fit.strategy.root_device,
                rank=fit.global_rank,
                world=fit.world_size,
                **{key: value for key, value in features.items() if value is not None},
            )
            data.train_collate.decode = "land_cover" in model.maps
        try:
            fit.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if resume is None or module.began or isinstance(error, UserError):
                raise
            raise UserError(
                f"{resume}: its state of training cannot be restored ({type(error).__name__}: {error}). Give another "
                "checkpoint of the run, or begin a new run from its weights: start=<it>"
            ) from error
        resume = loaded = None
        module.over = fit.global_step < stage.steps  # a callback ended it
        fit.save_checkpoint(checkpoints / f"{index + 1}-{stage.name}.ckpt")
        trace = trace + module.trace
    if fit is None:  # all stages were complete: only the evaluation is left
        files = WholeFileIO(model=model, bases=bases)
        fit = stage_trainer(trainer, title="", steps=1, files=files, logger=None, folder=folder)
    model.requires_grad_(False)  # torch multiplies trainable matrices in another order: answer as after `load_run`
    model.to(fit.strategy.root_device)  # the trainer's teardown moves it to the CPU
    _restore_dtypes(model, dtypes, computed)
    same_buffers(model)
    return trace


def _check_monitors(callbacks: Mapping[str, Any], validation: Validation | None) -> None:
    """Raises `UserError` for a callback that monitors validation in a run without any."""
    for name, node in callbacks.items():
        monitor = str(node.get("monitor", ""))
        if monitor.startswith("val/") and validation is None:
            raise UserError(
                f"callback.{name}.monitor={monitor}, and nothing is validated: give the corpus a split "
                "(corpus.<name>.splits.val=val) and validation.every=<steps>, or leave the callback out"
            )


def _restore_dtypes(model: RSMoE, dtypes: Mapping[str, torch.dtype], computed: Mapping[str, torch.Tensor]) -> None:
    """Gives weights the dtypes from before training, so that the model answers as when its checkpoint is loaded.

    Args:
        dtypes: of the tensors that a checkpoint holds.
        computed: the other buffers, such as positions, as they were before bf16-true rounded them.
    """
    for name, value in chain(model.named_parameters(), model.named_buffers()):
        if name in dtypes and value.dtype != dtypes[name]:
            value.data = value.data.to(dtypes[name])
        elif name in computed:
            value.data = computed[name].to(value.device)


def _check_batch_sizes(stages: Sequence[Stage], world: int) -> None:
    for stage in stages:
        if stage.batch_size % world:
            raise UserError(
                f"stage {stage.name!r} draws {stage.batch_size} a step, which {world} processes cannot share equally; "
                f"make stage.{stage.name}.batch_size a multiple of {world}"
            )
