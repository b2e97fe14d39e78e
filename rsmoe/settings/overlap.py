"""Keys of ``python -m rsmoe.commands.overlap``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.release import Root
from rsmoe.settings.types import Count, Name, OutFolder, Says, Share

DataNames = Annotated[Name | Annotated[list[Name], Len(1)], Says("names of data sets, [ucm_captions,rsicd:val]")]


class Overlap(Settings):
    """Finds test pictures and captions that training data holds as well."""

    examples = (
        "train=ucm_captions test=ucm_captions",
        "train=[ucm_captions,rsicd] test=[ucm_captions,rsicd:val] data.root=/data out=overlap",
        "train=rsicap test=rsieval threshold=0.8 sheet=0",
    )

    train: DataNames = Field(description='data sets of conf/data; "name" is its split "train", "name:val" another')
    test: DataNames = Field(description='the same; "name" is its split "test"')
    data: Root
    out: OutFolder = Field(description="folder for overlap.json and pairs.png")
    threshold: Share = Field(description="least agreement of texture of a near-duplicate")
    sheet: Count = Field(description="pairs drawn, the least certain first; 0 draws none")
