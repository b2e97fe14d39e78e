"""A run folder with a checkpoint that was trained for a moment, as `rsmoe.train` leaves it."""

from __future__ import annotations

from pathlib import Path

from rsmoe.settings.stage import Stage
from rsmoe.training.run import run_stages
from support.models import FIVE_KINDS, codecs, requests, tiny_config, tiny_model
from support.runs import TRAINER, data_of

CALM = ("temporal.dropout=0.0",)


def tiny_run(home: Path, *overrides: str, experts: str = FIVE_KINDS, steps: int = 2) -> Path:
    """Trains the model of `tiny_model`; the folder, for ``checkpoint=``."""
    codec, words = codecs(experts)
    losses = {"text": 1.0} | ({"retrieval": 1.0} if "retrieval" in experts else {})
    stage = Stage(name="learn", steps=steps, train=["*"], batch_size=10, losses=losses)
    config = tiny_config(*overrides, experts=experts)
    run_stages(
        model=tiny_model(*overrides, experts=experts, scrambled=False), data=data_of(requests()), stages=[stage],
        folder=home, seed=3, hparams={"config": config, "codec": codec.state(), "instruction_codec": words.state()},
        trainer=TRAINER, logger=None, checkpoint_every=100, resume=None,
    )  # fmt: skip
    return home
