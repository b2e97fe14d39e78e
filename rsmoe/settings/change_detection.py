"""Keys of ``python -m rsmoe.commands.change_detection``."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.release import Release
from rsmoe.settings.types import Count, Device, Draws, Name, Number, OutFolder, Paths, Pixels, Seed


class ChangeDetection(Settings):
    """Scores a model's change map against classical methods, on pairs with masks."""

    examples = (
        "data=levir_cd data.root=/data",
        "data=dsifn_cd checkpoint=runs/changechat_moe out=change_detection",
        "data=levir_cd checkpoint=[runs/a,runs/b] tile=64 limit=100",
    )
    groups = ("data",)

    data: Release = Field(description="pairs with masks")
    checkpoint: Paths | None = Field(description="a run folder, a checkpoint file, or a list; null: classical alone")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    out: OutFolder = Field(description="folder of metrics.json and maps.png")
    split: Name = Field(description="of the data set")
    limit: Number | None = Field(description="n pairs, evenly spread; null: all")
    tile: Pixels | Literal[0] | None = Field(
        description="side in pixels of the model's tiles; null: of its pictures, 0: whole pairs"
    )
    kinds: Annotated[list[Annotated[int, Ge(1), Le(254)]], Len(1)] | None = Field(
        description="of the model's map that count: [1] for the buildings of a model of generated pairs; null: all"
    )
    pictures: Count = Field(description="pairs in maps.png")
    draws: Draws = Field(description="of the bootstrap that gives 95 % intervals; 0: none")
    seed: Seed = Field(description="of the draws")
