"""Keys of ``python -m rsmoe.train``."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, MinLen
from pydantic import Field

from rsmoe.errors import UserError, require_known
from rsmoe.settings.loader import Loader
from rsmoe.settings.model import Settings
from rsmoe.settings.release import Root
from rsmoe.settings.stage import stages_of
from rsmoe.settings.trainer import Trainer
from rsmoe.settings.types import (
    Beams,
    Count,
    Name,
    NotNegative,
    Number,
    OutFolder,
    Part,
    PathWord,
    Positive,
    Says,
    Seed,
    Tokens,
    Word,
)

Bands = Annotated[list[float], MinLen(1)]
Mix = Annotated[dict[str, NotNegative], Says("names of data sets with a share from 0 each")]


class Text(Settings):
    """Tokenizers."""

    lm: Word | None = Field(description="of the language model, a name or a folder; null fits one on the training text")
    instruction: Word | None = Field(description="of the Q-Former's instruction, likewise")


class Evaluation(Settings):
    """What is measured behind the last stage."""

    splits: Annotated[list[Literal["train", "val", "test"]], Len(1)] = Field(description="[val,test]")
    beams: Beams = Field(description="of the search; 1 is greedy")
    max_new: Tokens = Field(description="most tokens of an answer")
    limit: Number | None = Field(description="n samples of each data set, evenly spread; null: all")
    neighbours: Number | None = Field(description="most training samples that the trivial baselines learn from")
    metrics: Part = Field(description="of your own, beside those of each task: +metric=<name>")
    tile: Count | None = Field(
        None, description="side in pixels of the tiles that maps are drawn in, as rsmoe.predict does; null: no tiles"
    )


class Validated(Settings):
    """Losses on the split val during training."""

    every: Number | None = Field(description="steps between two validations, and at least one a stage; null: none")
    limit: Number | None = Field(description="n samples of each data set, evenly spread; null: all")


class Limit(Settings):
    """Short runs, for debug=."""

    steps: Number | None = Field(description="of each stage at most")
    samples: Number | None = Field(description="n of each training set, evenly spread")


class Features(Settings):
    """Options of `rsmoe.training.stage_features.stage_features`."""

    folder: OutFolder | None = Field(None, description="of all encoders' features; null: $RSMOE_CACHE/features")
    dtype: Literal["float32", "float16", "bfloat16"] | None = Field(
        None, description="in which they are kept; float32 changes no number, float16 takes half the space"
    )
    max_gb: Positive | None = Field(None, description="most gigabytes in the folder; 20 by default")


class Train(Settings):
    """Trains a model on a corpus, stage after stage, and evaluates it; everything goes into one run folder."""

    examples = (
        "experiment=rsicap_moe",
        "experiment=ucm_moe data.root=/data seed=1",
        "experiment=rsicap_moe seed=1 stage.dense.steps=600",
        "experiment=rsicap_moe trainer=gpu logger=wandb",
        "resume=runs/rsicap_moe/2026-01-31_12-00-00 experiment=rsicap_moe",
        "-m experiment=ucm_moe seed=0,1,2",
    )
    groups = (
        "experiment", "model", "vision", "temporal", "maps", "qformer", "bypass", "regions", "router", "choice",
        "balance", "prompts", "lm", "expert", "bank", "moe", "fusion", "corpus", "schedule", "stage", "optimizer",
        "trainer", "callback", "logger", "metric", "debug",
    )  # fmt: skip

    name: Word = Field(description="of the run folder; an experiment sets its own")
    seed: Seed = Field(description="of weights, order, augmentation and dropout")
    resume: PathWord | None = Field(description="a run folder, or a checkpoint in it, to continue")
    start: PathWord | None = Field(
        description="a run folder, or a checkpoint, of any run: weights that fit by name and shape are taken over; of "
        "a dual encoder those of its vision encoder"
    )
    adapters: Annotated[dict[str, PathWord], Says("names of experts with a folder each")] | None = Field(
        description="adapters={vqa:folder}: LoRA adapters in PEFT's format that experts begin with"
    )
    data: Root
    world: Literal["auto", "real", "generated"] = Field(
        description="real data, or the generated scenes of the corpus; auto: generated where no folder of data is given"
    )
    real: list[Name] = Field(description="words that are added, before those that are typed, where real data are given")
    image_size: Annotated[int, Ge(8), Le(8192)] = Field(description="side in pixels of what the model sees")
    bands: Annotated[int, Ge(1), Le(1000)] = Field(description="of the pictures")
    mean: Bands = Field(description="of each band, on the scale 0 to 1")
    std: Annotated[list[Annotated[float, Gt(0)]], MinLen(1)] = Field(description="of each band, on the same scale")
    noun_grounding: bool = Field(description="words of an instruction bring along the land cover class that they name")
    text: Text
    features: Features | None = Field(description="{}: a frozen encoder's features are computed once, kept on disk")
    evaluation: Evaluation
    objective: Word | None = Field(
        description="the number that the command returns to a sweeper, a metric: [[split/]data set/]caption/cider_d"
    )
    validation: Validated
    limit: Limit
    loader: Loader
    compile: bool = Field(description="torch.compile of the vision encoder and the Q-Former")
    checkpoint_every: Number = Field(description="steps between two checkpoints")

    vision: Part = Field(description="pixels -> tokens and pyramid")
    temporal: Part = Field(description="dates -> one visual memory")
    maps: Part = Field(description="maps=[land_cover,change]: classes of pixels, and tokens that describe them")
    qformer: Part = Field(description="memory + instruction -> queries")
    bypass: Part = Field(description="visual tokens that go past the Q-Former: none, mean, grid")
    regions: Part = Field(description="a token of the region that a request is about: none, pooled")
    router: Part = Field(description="queries + instruction -> experts")
    choice: Part = Field(description="logits of the router -> experts")
    balance: Part = Field(description="what keeps the load of the experts even")
    prompts: Part = Field(description="one prompt per chosen expert")
    lm: Part = Field(description="the language model that experts share")
    expert: Part = Field(description="expert=[theme,object,...]: who answers")
    bank: Part = Field(description="experts share one base, or each has its own")
    moe: Part = Field(description="experts, or none for the dense twin")
    fusion: Part = Field(description="rows of one sample -> one text")
    corpus: Part = Field(description="data sets, their splits, their place in the evaluation")
    mix: Mix | None = Field(description="data set -> share of the draws, in every stage that has no mix itself")
    stage: Part = Field(description="stage=[perception,dense,experts]: what trains when; stage.dense.steps=600")
    optimizer: Part = Field(description="of torch.optim; its learning rates are those of the stages")
    callback: Part = Field(description="Lightning callbacks beside ours, callback=[early_stopping]")
    trainer: Trainer = Field(description="devices and precision, lightning.pytorch.Trainer")
    logger: Part = Field(description="where the curves go")

    def model_post_init(self, context: object) -> None:
        """Relations between keys, and the stages."""
        if self.resume and self.start:
            raise UserError("resume= continues a run and start= begins a new one from old weights: give one of them")
        for key in ("mean", "std"):
            if len(getattr(self, key)) != self.bands:
                raise UserError(
                    f"{key}={getattr(self, key)}: expected {self.bands} numbers, one a band (bands={self.bands})"
                )
        if not self.expert:
            raise UserError("expert=[]: expected at least one expert, expert=[theme,vqa]")
        stages = stages_of({"stage": self.stage})
        for place, mix in (("mix", self.mix or {}), *((f"stage.{s.name}.mix", s.mix) for s in stages)):
            require_known(f"data set in {place}", *mix, known=self.corpus)
        for stage in stages:
            if stage.steps and not self.maps and not any(stage.losses.values()):
                rest = ",".join(s.name for s in stages if s is not stage) or "dense,experts"
                raise UserError(
                    f"stage {stage.name!r} has no loss: it teaches maps, and this run has none (maps=[]). Leave it "
                    f"out, stage=[{rest}], or choose maps that the data teach, maps=[land_cover]"
                )
