"""Trains a dual encoder: one stage, on features of a frozen encoder where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import Logger

from rsmoe.contrast.dual_encoder import DualEncoder
from rsmoe.contrast.module import LOSS, ContrastModule
from rsmoe.contrast.text_tokens import TextTokens
from rsmoe.data.datamodule import RSDataModule
from rsmoe.errors import UserError
from rsmoe.settings.stage import Stage
from rsmoe.training.checkpoint_io import WholeFileIO
from rsmoe.training.curves import log_config
from rsmoe.training.freeze import set_trainable
from rsmoe.training.stage_features import stage_features
from rsmoe.training.stage_trainer import stage_trainer


def fit(
    *,
    model: DualEncoder,
    tokens: TextTokens,
    data: RSDataModule,
    stage: Stage,
    captions: int,
    part: int | None,
    folder: Path,
    seed: int,
    hparams: dict[str, Any],
    trainer: Mapping[str, Any],
    logger: Logger | None,
    checkpoint_every: int,
    optimizer: Mapping[str, Any],
    features: Mapping[str, Any] | None,
    resume: Path | None = None,
) -> None:
    """Trains ``model`` in place, writes ``checkpoints/1-contrast.ckpt`` at the end and ``last.ckpt`` meanwhile.

    Args:
        tokens: of the text tower.
        stage: length, batch, rates, what trains.
        captions, part: see `ContrastModule`.
        hparams: what a checkpoint must carry to build the model again, plain.
        features: options of `stage_features`; None: pixels are encoded in every step.
        resume: a checkpoint of the same run, from which it goes on.

    Raises:
        UserError: a pattern that matches nothing, a batch that the processes cannot share equally.
    """
    set_trainable(model, stage.train)
    module = ContrastModule(
        model=model, tokens=tokens, captions=captions, part=part, stage=stage, seed=seed, hparams=hparams,
        optimizer=optimizer,
    )  # fmt: skip
    run = stage_trainer(
        trainer, title=LOSS, steps=stage.steps, files=WholeFileIO(model=cast(Any, model)), logger=logger, folder=folder,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip
    if stage.batch_size % run.world_size:
        raise UserError(
            f"stage.batch_size={stage.batch_size}, which {run.world_size} processes cannot share equally; make it a "
            f"multiple of {run.world_size}"
        )
    if logger is not None:
        log_config(logger, hparams)
    data.stage(stage, 0)
    if features is not None:
        data.train_collate.features = stage_features(
            model, data, stage, device=run.strategy.root_device, rank=run.global_rank, world=run.world_size,
            **{key: value for key, value in features.items() if value is not None},
        )  # fmt: skip
        data.train_collate.decode = data.train_collate.features is None
    run.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    run.save_checkpoint(folder / "checkpoints" / f"1-{LOSS}.ckpt")
    model.eval().requires_grad_(False).to(run.strategy.root_device)
