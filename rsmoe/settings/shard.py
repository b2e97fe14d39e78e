"""Keys of ``python -m rsmoe.commands.shard``."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.release import Release
from rsmoe.settings.types import Name, Number, OutFolder, Seed, Share


class Shard(Settings):
    """Writes a data set as tar shards, to be read or streamed; typed again, it goes on where it stopped."""

    examples = (
        "data=scenes split=train out=shards/scenes",
        "data=ucm_captions data.root=/data split=train out=shards/ucm_captions",
        "data=rsicd split=train out=shards/rsicd pixels=raw processes=8",
    )
    groups = ("data",)

    data: Release = Field(description="which data set")
    split: Name = Field(description="train, val or test")
    out: OutFolder = Field(description="the folder of the shards; splits may share one")
    shard_size: Number = Field(description="pictures, or pairs, in a shard")
    seed: Seed | None = Field(description="of their order; null keeps the order of the data set")
    pixels: Literal["encoded", "raw"] = Field(description="pictures as they are; raw: decoded, several times as large")
    check_: bool = Field(alias="check", description="decode every picture as a test")
    processes: Annotated[int, Ge(0), Le(1024)] = Field(description="that write at the same time; 0: this one alone")
    max_bad_fraction: Share = Field(description="share of samples that may be left out because they cannot be read")
    verify: bool = Field(description="read the shards back and compare their sha256")
