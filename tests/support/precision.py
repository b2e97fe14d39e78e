"""Trainers of a precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rsmoe.config import compose
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.run import run_stages
from support.models import codecs, requests, tiny_config, tiny_model
from support.runs import data_of

CPU = ("trainer.accelerator=cpu", "trainer.devices=1")


def trainer(*overrides: str) -> dict[str, Any]:
    return OmegaConf.to_container(compose([*CPU, *overrides]).trainer, resolve=True)  # type: ignore[return-value]


def trained(folder: Path, *stages: Stage, of: dict[str, Any], overrides: tuple[str, ...] = (), **more: Any) -> RSMoE:
    codec, words = codecs()
    model = tiny_model(*overrides, scrambled=False)
    hparams = {"config": tiny_config(*overrides), "codec": codec.state(), "instruction_codec": words.state()}
    options = {"logger": None, "checkpoint_every": 2, "resume": None} | more
    run_stages(
        model=model, data=data_of(requests()), stages=stages, folder=folder, seed=3, hparams=hparams, trainer=of,
        **options,
    )  # fmt: skip
    return model
