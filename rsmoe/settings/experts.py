"""Keys of ``python -m rsmoe.commands.experts``."""

from __future__ import annotations

from pydantic import Field

from rsmoe.settings.evaluate import Metrics
from rsmoe.settings.model import OpenSettings, Settings
from rsmoe.settings.release import Root
from rsmoe.settings.types import BatchSize, Beams, Device, Draws, Name, Number, OutFolder, Part, PathWord, Seed, Tokens


class Scores(OpenSettings):
    """Task -> the number of its protocol that is its score; +scores.<name> for tasks of your own."""

    caption: Name = Field(description="number of its protocol")
    vqa: Name = Field(description="number of its protocol")
    change_caption: Name = Field(description="number of its protocol")
    change_vqa: Name = Field(description="number of its protocol")
    ground: Name = Field(description="number of its protocol")
    mask: Name = Field(description="number of its protocol")
    retrieval: Name = Field(description="number of its protocol")


class Experts(Settings):
    """Takes a mixture apart: each expert alone, each left out, regret, load, similarity."""

    examples = (
        "checkpoint=runs/rsicap_moe benchmark=rsieval_generated +metric=caption_aspects",
        "checkpoint=runs/ucm_moe benchmark=ucm_captions data.root=/data limit=200 out=experts",
        "checkpoint=runs/unified_moe benchmark=changechat_generated draws=2000",
    )
    groups = ("benchmark", "metric")

    benchmark: Part | None = Field(None, description="one")
    checkpoint: PathWord = Field(description="a run folder, a checkpoint file, or a folder of save_pretrained")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    out: OutFolder = Field(description="folder of experts.csv and experts.png")
    data: Root
    scores: Scores
    limit: Number | None = Field(description="n samples, evenly spread; null: all")
    batch_size: BatchSize = Field(description="samples a batch")
    beams: Beams = Field(description="of the search; 1 is greedy")
    max_new: Tokens | None = Field(description="most tokens of an answer; null: as the benchmark says")
    draws: Draws = Field(description="of the bootstrap that gives 95 % intervals")
    seed: Seed = Field(description="of the draws")
    evaluation: Metrics
