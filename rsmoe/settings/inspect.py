"""Keys of ``python -m rsmoe.commands.inspect``."""

from __future__ import annotations

from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.release import Release
from rsmoe.settings.types import Count, Name, OutFile


class Inspect(Settings):
    """Checks a data set as its reader reads it: counts, samples left out, first rows, a contact sheet."""

    examples = (
        "data=scenes",
        "data=ucm_captions data.root=/data split=test out=ucm.png",
        "data=own_jsonl data.root=my_pictures rows=20 sheet=0",
    )
    groups = ("data",)

    data: Release = Field(description="which data set")
    split: Name = Field(description="train, val or test")
    rows: Count = Field(description="rows that are printed")
    sheet: Count = Field(description="samples drawn, of every task and kind as far as they go; 0 draws none")
    out: OutFile = Field(description="the contact sheet, a picture")
