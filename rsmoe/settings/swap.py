"""Keys of ``python -m rsmoe.commands.swap``."""

from __future__ import annotations

from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.release import Release
from rsmoe.settings.types import Beams, Device, Name, Number, OutFile, PathWord, Tokens


class Swap(Settings):
    """Asks whether "appeared" and "vanished" change places when the two dates do."""

    examples = (
        "checkpoint=runs/changechat_moe",
        "checkpoint=runs/levir_cc_moe data=levir_cc data.root=/data out=swap.json",
        "checkpoint=runs/changechat_moe pairs=50 beams=3",
    )
    groups = ("data",)

    data: Release = Field(description="pairs with captions")
    checkpoint: PathWord = Field(description="a run folder, or a checkpoint file")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    out: OutFile | None = Field(description="a json of the rates")
    split: Name = Field(description="of the data set")
    pairs: Number = Field(description="most pairs, evenly spread over the data")
    beams: Beams = Field(description="of the search; 1 is greedy")
    max_new: Tokens = Field(description="most tokens of an answer")
