"""Keys of ``python -m rsmoe.commands.contrast``."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import Field

from rsmoe.errors import UserError, require_known
from rsmoe.settings.loader import Loader
from rsmoe.settings.model import Settings
from rsmoe.settings.release import Root
from rsmoe.settings.stage import Rate, Stage
from rsmoe.settings.train import Bands, Features, Mix
from rsmoe.settings.trainer import Trainer
from rsmoe.settings.types import BatchSize, Count, Draws, Name, Number, Part, PathWord, Says, Seed, Word


class Length(Settings):
    """The one stage."""

    steps: Number = Field(description="of the optimiser")
    batch_size: BatchSize = Field(description="pictures a step, over all ranks")
    mix: Mix = Field(description="data set -> share of the draws; {}: by size")
    train: Annotated[list[Name], MinLen(1), Says("a list of patterns")] = Field(
        description='["*",-vision]: what trains, see rsmoe.training.freeze'
    )
    lr: Rate = Field(description="learning rate")
    lr_groups: Annotated[dict[str, Rate], Says("patterns with a learning rate from 0 each")] = Field(
        description="pattern -> rate, the first that matches"
    )
    warmup: Count = Field(description="steps of linear warm-up, then cosine")
    weight_decay: Rate = Field(description="of matrices")

    def as_stage(self) -> Stage:
        """The stage of a training."""
        return Stage(name="contrast", losses={"contrast": 1.0}, **self.model_dump())


class Contrast(Settings):
    """Trains a dual encoder on pictures and their captions, and measures retrieval and zero-shot classification."""

    examples = (
        "recipe=clip_scenes",
        "recipe=clip_ucm_rsicd data.root=/data",
        "recipe=clip_ucm_rsicd pair_loss=siglip stage.batch_size=256",
        "recipe=clip_finetune vision.pretrained=models/georsclip data.root=/data",
        "resume=runs/clip_scenes/2026-01-31_12-00-00",
    )
    groups = (
        "recipe", "vision", "image_head", "text_tower", "pair_loss", "optimizer", "trainer", "logger", "benchmark",
    )  # fmt: skip

    name: Word = Field(description="of the run folder; a recipe sets its own")
    seed: Seed = Field(description="of weights, order, captions, augmentation and dropout")
    resume: PathWord | None = Field(description="a run folder, or a checkpoint in it, to continue, as it was")
    start: PathWord | None = Field(
        description="a run whose vision encoder this one begins with, mixture or dual encoder"
    )
    data: Root
    image_size: Annotated[int, Ge(8), Le(8192)] = Field(description="side in pixels of what the model sees")
    bands: Annotated[int, Ge(1), Le(1000)] = Field(description="of the pictures")
    mean: Bands = Field(description="of each band, on the scale 0 to 1")
    std: Annotated[list[Annotated[float, Gt(0)]], MinLen(1)] = Field(description="of each band, on the same scale")
    captions: Number = Field(description="texts drawn of each picture's captions in a step")
    part: Number | None = Field(description="pictures whose activations are kept at once; null: all")
    features: Features | None = Field(description="{}: a frozen encoder's features are computed once, kept on disk")
    corpus: Part = Field(description="data sets by name, each with reader, splits and as: retrieval")
    stage: Length
    loader: Loader
    limit: Number | None = Field(description="n samples of each benchmark, evenly spread; null: all")
    draws: Draws = Field(description="of the bootstrap that gives 95 % intervals; 0: none")
    checkpoint_every: Number = Field(description="steps between two checkpoints")
    vision: Part = Field(description="pixels -> tokens")
    image_head: Part = Field(description="tokens -> embedding")
    text_tower: Part = Field(description="words -> embedding")
    pair_loss: Part = Field(description="info_nce or siglip")
    optimizer: Part = Field(description="of torch.optim; its learning rate is stage.lr")
    trainer: Trainer = Field(description="devices and precision, lightning.pytorch.Trainer")
    logger: Part = Field(description="where the curves go")
    benchmark: Part | None = Field(None, description="[several,of,them]: what is measured at the end")

    def model_post_init(self, context: Any) -> None:
        """Relations between keys."""
        for key in ("mean", "std"):
            if len(getattr(self, key)) != self.bands:
                raise UserError(
                    f"{key}={getattr(self, key)}: expected {self.bands} numbers, one a band (bands={self.bands})"
                )
        pretrained = str(self.image_head.get("_target_")).endswith(".PretrainedHead")
        if pretrained and not (self.vision.get("keep_prefix") and self.vision.get("select_layer") is None):
            raise UserError(
                "image_head=pretrained stands behind the last block of its own tower, class token included: choose "
                "vision=clip_vit_b32 or siglip_base, or give vision.select_layer=null vision.keep_prefix=true"
            )
        if not self.corpus:
            raise UserError("corpus={}: expected at least one data set; choose recipe=<name>")
        require_known("data set in stage.mix", *self.stage.mix, known=self.corpus)
