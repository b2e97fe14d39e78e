"""Runs the stages of a schedule one after another, and continues a run that was interrupted."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from rsmoe.build import built_configs, load_weights
from rsmoe.data.datamodule import RSDataModule
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate
from rsmoe.training.checkpoint_io import WholeFileIO
from rsmoe.training.checkpoints import find_checkpoint, load_checkpoint
from rsmoe.training.freeze import set_trainable
from rsmoe.training.interruption import Interruption
from rsmoe.training.left_out import has_parameters, left_out, sizes
from rsmoe.training.module import StageModule
from rsmoe.training.progress import StageProgress
from rsmoe.training.ranks import alike
from rsmoe.training.stage import Stage

_KNOWN = (
    ".*dataloader is not resumable",  # ours starts at the step that is asked for
    ".*in eval mode at the start",  # frozen parts, on purpose
    ".*exists and is not empty",  # the checkpoints of the stages before
    "The dirpath has changed",  # a continued run has a folder of its own
    ".*smaller than the logging interval",
    ".*does not have many workers",
    ".*LeafSpec.* is deprecated",  # its own use of torch
    "Grad strides do not match bucket view",  # of a map, in a share of a batch without a picture that has it
)
"""Warnings of Lightning, and of its DDP, about what is meant to be so."""


def run_stages(
    *,
    model: RSMoE,
    data: RSDataModule,
    stages: Sequence[Stage],
    folder: Path,
    seed: int,
    hparams: dict[str, Any],
    trainer: Mapping[str, Any],
    logger: Mapping[str, Any],
    checkpoint_every: int,
    resume: Path | None,
) -> list[dict[str, Any]]:
    """Trains ``model`` in place; writes ``checkpoints/<n>-<stage>.ckpt`` at each end and ``last.ckpt`` meanwhile.

    The model is left on the device of the trainer, the same on every rank, with nothing trainable.

    Args:
        resume: a checkpoint of this schedule; its stage and step are found in it.

    Returns:
        the router's trace: per noted step its stage, entropy, accuracy and load.

    Raises:
        UserError: unknown parameter patterns or losses, draws that processes cannot share equally, a loss that is not
            finite, a checkpoint of another model.
    """
    for name in ("lightning.pytorch", "lightning.fabric.utilities.distributed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _KNOWN:
        warnings.filterwarnings("ignore", message)
    if not any(stage.steps for stage in stages):
        raise UserError("0 steps in every stage: nothing would be trained. Give schedule.steps=[...]")
    checkpoints = folder / "checkpoints"
    start, trace, fit = 0, [], None
    loaded = None
    if resume is not None:
        resume = find_checkpoint(resume)
        saved = load_checkpoint(resume)
        loaded = (resume, saved)
        start = int(saved["hyper_parameters"]["stage"])
        load_weights(model, saved)
        trace = list(saved["hyper_parameters"].get("trace", []))
        if int(saved["global_step"]) >= stages[start].steps:  # the checkpoint of a stage that is complete
            trace += saved["router_trace"]
            start, resume = start + 1, None
    bases = left_out(model, stages)
    if bases and not rank_zero_only.rank:  # type: ignore[attr-defined]
        print(sizes(model, bases))
    for index, stage in enumerate(stages):
        if index < start or not stage.steps:
            continue
        model.dense = stage.dense or model.bank.size == 1
        if stage.upcycle and resume is None and model.bank.size > 1:
            model.bank.upcycle(0)
            model.prompts.upcycle(0)
        set_trainable(model, [p for p in stage.train if has_parameters(model, p)])
        model.bank.rest()
        own = {"built": built_configs(model), "trace": trace, "dense": model.dense}
        module = StageModule(model=model, stage=stage, index=index, seed=seed, hparams={**hparams, **own})
        callbacks: list[pl.Callback] = [
            StageProgress(stage=f"stage {index + 1}/{len(stages)} {stage.name}"),
            ModelCheckpoint(
                dirpath=checkpoints, filename="last", every_n_train_steps=checkpoint_every, enable_version_counter=False
            ),
        ]
        if stage.ema > 0:
            callbacks.append(EMAWeightAveraging(decay=stage.ema))
        callbacks.append(Interruption(checkpoints / "last.ckpt"))  # after the average: it saves it
        fit = instantiate(
            trainer,
            max_steps=stage.steps,
            max_epochs=-1,
            callbacks=callbacks,
            plugins=[*trainer.get("plugins", []), WholeFileIO(model=model, bases=bases, loaded=loaded)],
            logger=instantiate(logger, save_dir=str(folder), name=stage.name),
            gradient_clip_val=stage.clip,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=10,
        )
        _check_shares([s for s in stages[index:] if s.steps], fit.world_size)
        data.stage(stage, index)
        fit.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        resume = loaded = None
        fit.save_checkpoint(checkpoints / f"{index + 1}-{stage.name}.ckpt")
        trace = trace + module.trace
    if fit is None:  # all stages were complete: only the evaluation is left
        fit = instantiate(trainer, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    model.requires_grad_(False)  # torch multiplies a trainable matrix in another order: as `load_run` will ask it
    model.to(fit.strategy.root_device)  # the trainer's teardown takes it to the processor
    alike(model)
    return trace


def _check_shares(stages: Sequence[Stage], world: int) -> None:
    for stage in stages:
        if stage.batch_size % world:
            raise UserError(
                f"stage {stage.name!r} draws {stage.batch_size} a step, which {world} processes cannot share equally; "
                f"make its batch_size (schedule.draws in some schedules) a multiple of {world}"
            )
