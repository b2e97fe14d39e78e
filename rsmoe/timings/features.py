"""Stage 2 on stored features beside the same stage that encodes: ``python -m rsmoe.timings.features``.

Steps of the expert stage (router, prompts and adapters train, the encoder rests) on UCM-Captions with a frozen encoder,
one process, one thread, loading included. Both ways take turns on the same batches; the losses are checked to be the
same. Printed are samples a second, by wall clock and by processor time, the processor seconds that the features took to
compute, and their size on disk. Needs $RSMOE_DATA.

How much is gained depends on what is left: with two thirds of a step spent on the encoder, three times is the limit.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch.utils.data import Dataset, Subset

from rsmoe.build import build_model, fit_codecs
from rsmoe.config import compose
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.sample import Sample
from rsmoe.model import RSMoE
from rsmoe.parts import instantiate
from rsmoe.settings.stage import Stage
from rsmoe.training.freeze import set_trainable
from rsmoe.training.module import StageModule
from rsmoe.training.run import ADAMW
from rsmoe.training.stage_features import stage_features


class _Clock(pl.Callback):
    """Seconds between the ends of steps, by the wall and by the processor, and the losses."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))
        self.losses.append(float(outputs["loss"]))

    def seconds(self, clock: int) -> float:
        """Median of the steps behind the first."""
        return median(b[clock] - a[clock] for a, b in zip(self.ends[:-1], self.ends[1:], strict=True))


def steps(model: RSMoE, data: RSDataModule, stage: Stage, start: dict[str, torch.Tensor]) -> _Clock:
    """Trains the stage from the same weights."""
    model.load_state_dict(start)
    set_trainable(model, list(stage.train))
    clock = _Clock()
    data.stage(stage, 0)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_steps=stage.steps, max_epochs=-1, logger=False, callbacks=[clock],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(StageModule(model=model, stage=stage, index=0, seed=0, hparams={}, optimizer=ADAMW), datamodule=data)
    return clock


def run_of(vision: str, overrides: Sequence[str], *, pictures: int) -> tuple[RSMoE, RSDataModule]:
    """A model with random weights behind its encoder, and the first training pictures."""
    words = ["corpus=ucm", "~corpus.questions", "temporal=passthrough", f"vision={vision}", *overrides]
    config: Any = OmegaConf.to_container(compose(words), resolve=True)
    captions = instantiate(config["corpus"]["captions"]["reader"], split="train")
    few: Dataset[Sample] = Subset(captions, range(pictures))
    texts = [text for i in range(pictures) for text in (captions[i].instruction, *captions[i].responses)]
    codec, instruction_codec = fit_codecs(config, texts)
    torch.manual_seed(0)
    data = RSDataModule(
        train={"captions": few},
        codec=codec,
        instruction_codec=instruction_codec,
        image_size=config["image_size"],
        mean=config["mean"],
        std=config["std"],
        collate=config["loader"]["collate"] | {"crop_area": 1.0, "jitter": 0.0},
    )
    return build_model(config, codec, instruction_codec), data


def main() -> None:
    """Prints the table; ends with an error when the losses differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"pictures": 128, "batch": 64, "steps": 7, "repetitions": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--vision", default="efficientnet_lite0", help="a name in conf/vision")
    parser.add_argument("overrides", nargs="*", help="further keys of conf/train.yaml, such as vision.finest=32")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, data = run_of(given.vision, given.overrides, pictures=given.pictures)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    stage = Stage(
        name="experts", steps=given.steps, train=["router.*", "prompts.*", "*lora_*"], batch_size=given.batch,
        losses={"text": 1.0},
    )  # fmt: skip
    clocks: dict[str, list[_Clock]] = {"encoded": [], "stored": []}
    with tempfile.TemporaryDirectory() as folder:
        set_trainable(model, list(stage.train))
        before = time.process_time()
        store = stage_features(model, data, stage, folder=folder)
        spent = time.process_time() - before
        assert store is not None
        for _ in range(given.repetitions):
            for name, features in (("encoded", None), ("stored", store)):
                data.train_collate.features, data.train_collate.decode = features, features is None
                clocks[name].append(steps(model, data, stage, start))
        size, views = sum(p.stat().st_size for p in Path(folder).rglob("*.safetensors")), len(store)
    same = all(c.losses == clocks["encoded"][0].losses for some in clocks.values() for c in some)
    table = Table("", "samples/s", "samples/s of processor", "x", title=f"{given.vision}, batches of {given.batch}")
    rates = {n: [given.batch / min(c.seconds(i) for c in cs) for i in (0, 1)] for n, cs in clocks.items()}
    for name, (wall, processor) in rates.items():
        table.add_row(name, f"{wall:.1f}", f"{processor:.1f}", f"{processor / rates['encoded'][1]:.1f}")
    console = Console()
    console.print(table)
    console.print(
        f"losses {'are the same' if same else 'DIFFER'}; {views} pictures and turns took {spent:.0f} s of processor "
        f"and {size / 1e6:.0f} MB ({size / views / 1e3:.0f} kB each)"
    )
    if not same:
        raise SystemExit("expected the same losses with stored features and without")


if __name__ == "__main__":
    main()
