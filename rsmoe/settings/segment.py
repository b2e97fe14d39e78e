"""Keys of ``python -m rsmoe.commands.segment``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MinLen
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.predict import GSD, SIMPLIFY, Raster
from rsmoe.settings.types import Count, Device, OutFolder, PathWord, Positive, Says, Share, Word

Names = Annotated[
    list[Word] | dict[Word, Annotated[list[Word], MinLen(1)]],
    MinLen(1),
    Says("names, [building,water], or names with the words that tell them, {building:[buildings,houses],water:[sea]}"),
]


class Segment(Settings):
    """Draws a map of the classes that are named, which no training has to have seen."""

    examples = (
        "names=[building,road,water,trees] image=scene.tif checkpoint=runs/clip_ucm_rsicd out=map",
        "names={ground:[bare land,sand],sea:[sea]} image=a.tif checkpoint=runs/clip aggregation=a.safetensors out=map",
        "names=[water] other=1.5 image=scene.tif checkpoint=runs/clip_ucm_rsicd out=map",
    )

    names: Names = Field(description="classes, up to 254; a name may bring the words that tell it")
    image: PathWord = Field(description="a picture or a raster of any size")
    out: OutFolder = Field(description="a folder for the map as GeoTIFF, GeoJSON and picture")
    checkpoint: PathWord = Field(description="a run of rsmoe.commands.contrast behind vision=efficientnet_lite0")
    aggregation: PathWord | None = Field(
        description="what rsmoe.studies.open_vocabulary --save wrote; null: names against features, without training"
    )
    other: float | None = Field(
        description="standard deviations below which a pixel is none of the names; null: every pixel has a name"
    )
    gsd_m: Positive | None = Field(description=GSD)
    tile: Count = Field(description="side of the tiles in pixels of the picture; 0: the whole picture as one")
    simplify_px: Share = Field(description=SIMPLIFY)
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    raster: Raster
