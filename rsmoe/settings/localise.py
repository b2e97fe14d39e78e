"""Keys of ``python -m rsmoe.commands.localise``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.predict import Raster
from rsmoe.settings.types import BatchSize, Device, OutFolder, PathWord, Pixels, Word


class Localise(Settings):
    """Draws where in a picture a sentence fits; a sentence needs no key."""

    examples = (
        '"a harbour with ships" image=scene.tif out=found',
        '"a harbour with ships" image=scene.tif sides=[128,256] checkpoint=models/remoteclip out=found',
        "text=forest image=scene.tif raster.bands=[4,3,2] raster.stretch=percentile out=found",
    )

    text: Word = Field(description="what is looked for; also the words of the line that have no key")
    image: PathWord = Field(description="a picture or a raster of any size")
    out: OutFolder = Field(description="a folder for heat.tif, in map coordinates, and heat.png")
    checkpoint: PathWord = Field(
        description="starter, a run with a retrieval expert, a run of contrast, a CLIP or SigLIP folder"
    )
    sides: Annotated[list[Pixels], Len(1)] = Field(description="of the tiles, in pixels of the picture")
    batch_size: BatchSize = Field(description="tiles that go through the model at once")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    raster: Raster
