"""Keys of ``python -m rsmoe.commands.stress``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.release import Release
from rsmoe.settings.types import (
    BatchSize,
    Beams,
    Count,
    Device,
    Draws,
    Name,
    Number,
    OutFolder,
    Paths,
    Pixels,
    Seed,
    Tokens,
)


class Stress(Settings):
    """Disturbs the second date of pairs (shift, light, season ...) and measures the loss of accuracy."""

    examples = (
        "checkpoint=runs/changechat_moe",
        "checkpoint=[runs/a,runs/b,runs/c] data=levir_cd data.root=/data tile=64",
        "checkpoint=runs/changechat_moe pairs=20 text=0 out=stress",
    )
    groups = ("data",)

    data: Release = Field(description="pairs with masks")
    checkpoint: Paths = Field(
        description="a run folder or checkpoint file, or a list; those of one temporal module are its seeds"
    )
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    out: OutFolder = Field(description="folder of metrics.json and curves.png")
    split: Name = Field(description="of the data set")
    pairs: Number = Field(description="most pairs, evenly spread over the data")
    tile: Pixels | None = Field(description="side in pixels of the tiles that pairs are cut into; null: whole")
    text: Count = Field(description="pairs that are also asked whether and what has changed; 0: maps alone")
    perturbations: Annotated[list[Name], Len(1)] | None = Field(description="names of disturbances; null: all")
    batch_size: BatchSize = Field(description="pairs a batch")
    beams: Beams = Field(description="of the search; 1 is greedy")
    max_new: Tokens = Field(description="most tokens of an answer")
    draws: Draws = Field(description="of the bootstrap that gives 95 % intervals; 0: none")
    seed: Seed = Field(description="of the draws and of the requests")
