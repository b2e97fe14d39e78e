"""Keys of ``python -m rsmoe.commands.index``."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.predict import Raster
from rsmoe.settings.types import BatchSize, Device, Name, OutFolder, Paths, PathWord


class Index(Settings):
    """Embeds pictures, and tiles of large ones, for a search; typed again, it does what is left, new or changed."""

    examples = (
        "images=pictures out=archive",
        "images='scenes/*.tif' tile=512 overlap=0.5 out=archive",
        "images=[2019,2020] raster.bands=[4,3,2] raster.stretch=percentile out=archive",
        "images=pictures tile=0 out=archive checkpoint=models/remoteclip",
        "images='shards/*.tar' tile=0 out=archive",
        "images=items.json asset=visual out=archive",
    )

    images: Annotated[Paths, Len(1)] = Field(
        description="a folder with all below it, a pattern, a picture, a tar file of pictures (webdataset, shards), a "
        "json of STAC items, or a list of these, [a,b]"
    )
    out: OutFolder = Field(description="the folder of the store")
    checkpoint: PathWord = Field(
        description="starter, a run with a retrieval expert, a run of contrast, a CLIP or SigLIP folder"
    )
    asset: Name | None = Field(
        description="which asset of STAC items is embedded; null: the only picture among them, or visual"
    )
    tile: Annotated[int, Ge(8), Le(100_000)] | Literal[0] = Field(
        description="side of the tiles in pixels, into which larger pictures are cut; 0: every picture is one tile"
    )
    overlap: Annotated[float, Ge(0), Le(0.9)] = Field(description="least share of a tile that the next one sees too")
    batch_size: BatchSize = Field(description="tiles that go through the model at once")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    raster: Raster
