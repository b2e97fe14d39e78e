"""Tiny training runs, killed at a step where a test asks."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import Dataset

from rsmoe.data.batch import Batch
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.sample import Sample
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.module import StageModule
from rsmoe.training.run import run_stages
from support.models import codecs, requests, tiny_config, tiny_model

DROPOUT = ("bank.dropout=0.2", "qformer.dropout=0.2", "router.jitter=0.1")


LOSSES = {"text": 1.0, "label": 0.5, "balance": 0.01, "z": 0.001}


DENSE = Stage(
    name="dense", steps=5, single_expert=True, train=["*", "-router.*"], batch_size=6, warmup=1,
)  # fmt: skip


EXPERTS = Stage(
    name="experts", steps=5, upcycle=True, train=["router.*", "prompts.*", "*lora_*", "experts.*"], batch_size=6,
    warmup=1, teach_routing_steps=3, smoothing=0.1, losses=LOSSES, losses_until={"label": 4},
)  # fmt: skip


TRAINER = {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1}


class Listed(Dataset[Sample]):
    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def data_of(samples: list[Sample]) -> RSDataModule:
    codec, words = codecs()
    shape = {"image_size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return RSDataModule(train={"hand": Listed(samples)}, codec=codec, instruction_codec=words, seed=3, **shape)


def run(
    folder: Path, *stages: Stage, resume: Path | None = None, overrides: tuple[str, ...] = DROPOUT, every: int = 2,
    samples: list[Sample] | None = None,
) -> tuple[RSMoE, list[dict[str, Any]]]:  # fmt: skip
    codec, words = codecs()
    model = tiny_model(*overrides, scrambled=False)
    hparams = {"config": tiny_config(*overrides), "codec": codec.state(), "instruction_codec": words.state()}
    trace = run_stages(
        model=model, data=data_of(samples or requests()), stages=stages, folder=folder, seed=3, hparams=hparams,
        trainer=TRAINER, logger=CSVLogger(folder), checkpoint_every=every, resume=resume,
    )  # fmt: skip
    return model, trace


def equal(a: RSMoE, b: RSMoE) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(v, theirs[k]) for k, v in ours.items())


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int, Callable[[], None]], None]:
    """Does something in the middle of a step, when its forward pass has run but no update is made."""

    def arm(stage: int, step: int, action: Callable[[], None]) -> None:
        real = StageModule.training_step

        def training_step(self: StageModule, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            out = real(self, batch, batch_idx)
            if (self.index, self.trainer.global_step) == (stage, step):
                action()
            return out

        monkeypatch.setattr(StageModule, "training_step", training_step)

    return arm


class Killed(Exception):
    pass


def kill() -> None:
    raise Killed


@pytest.fixture
def signals() -> Iterator[None]:
    """Puts the handlers back: after a Ctrl-C Lightning leaves SIGINT ignored."""
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    yield
    for s, handler in handlers.items():
        signal.signal(s, handler)
