"""Keys of ``python -m rsmoe.predict``."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import Field

from rsmoe.errors import UserError
from rsmoe.settings.model import Settings
from rsmoe.settings.types import (
    BatchSize,
    Beams,
    Count,
    Device,
    Name,
    Number,
    OutPath,
    Paths,
    PathWord,
    Positive,
    Says,
    Seed,
    Share,
    Temperature,
    Tokens,
    Word,
    Words,
)

GSD = "metres a pixel at which a georeferenced raster is seen: it is resampled on reading; null: its own pixels"
"""What ``gsd_m=`` is."""
SIMPLIFY = (
    "pixels by which polygons may be off the edges of a mask or a map, up to 1, so that slanted edges are straight; 0: "
    "along the edges of pixels"
)
"""What ``simplify_px=`` is."""


class Raster(Settings):
    """How GeoTIFFs are read."""

    bands: Annotated[list[Number | Word], Len(1), Says("a list of bands, [red,green,blue] or [3,2,1]")] | None = Field(
        description="[red,green,blue] or [3,2,1]; null: red, green, blue, or the first ones"
    )
    wavelengths_nm: Annotated[list[Positive], Len(1)] | None = Field(
        description="the same by wavelength, [665,560,490]"
    )
    names: Annotated[Paths, Says("a name, or a list of one name a band")] | None = Field(
        description="a sensor (sentinel2_l2a, landsat_oli ...), or one name a band"
    )
    stretch: Name | Annotated[list[float], Len(2, 2), Says("[low,high]")] | None = Field(
        description="to 8 bits: sentinel2, landsat_c2_l2, percentile ..., or [low,high] of the values as stored"
    )
    window: Annotated[list[Count], Len(4, 4), Says("[left,top,width,height] in pixels")] | None = Field(
        description="[left,top,width,height] in pixels of the first date; null: all of it, of any size"
    )
    nodata: float | None = Field(description="value of pixels without data; goes before the file's own")
    date_pattern: Word | None = Field(
        description=r"(?P<year>\d{4}) for 1985.tif; null: a year in the names, or the date in the files"
    )

    def model_post_init(self, context: object) -> None:
        """One way to choose bands."""
        if self.bands and self.wavelengths_nm:
            raise UserError("raster.bands= and raster.wavelengths_nm= both choose bands: give one of them")


class Predict(Settings):
    """Answers requests on pictures, or on two dates of them, in words, boxes, masks and maps."""

    examples = (
        'image=picture.png instruction="Mark every ship." out=found',
        "checkpoint=runs/changechat_moe image=[1985.tif,2020.tif] out=change",
        "checkpoint=runs/rsicap_moe image=tiles out=answers  (or 'tiles/*.tif', or image=[before_folder,after_folder])",
        "checkpoint=runs/rsicap_moe requests=requests.jsonl out=answers batch_size=16",
        'image=catalog.json instruction="Mark every airplane." tile=900 gsd_m=0.5 out=answers  (STAC)',
        "checkpoint=runs/rsicap_moe image=https://example.com/cog.tif raster.window=[0,0,1024,1024] "
        "raster.bands=[4,3,2] out=answer",
    )

    checkpoint: PathWord = Field(description="starter, a run folder, a checkpoint file, or a folder of save_pretrained")
    image: Annotated[Paths, Len(1)] | None = Field(
        description="a file, [before,after], a folder, a pattern, an http(s) address, a json of STAC items or a "
        "catalogue of them; [folder,folder]: pairs by "
        "name; a name that holds a comma goes in quotes, ['a,b.tif',c.tif]"
    )
    asset: Name | None = Field(
        description='of the STAC items in image=; null: the only one that is a picture, or "visual"'
    )
    requests: PathWord | None = Field(
        description="instead of image=: a jsonl, one request a line, with id, image or images (dates), instruction"
    )
    dates: Annotated[int, Ge(1), Le(64)] | None = Field(
        description="pictures of one request where image= is a list: 1, each by itself; null: the list is one request"
    )
    instruction: Word | None = Field(
        description="null: a chat in a terminal; else, and with out=, a description, or the changes between two dates"
    )
    region: PathWord | None = Field(
        description="what it is about, for models trained with regions: [x1,y1,x2,y2] or [[x,y],[x,y],[x,y]] in pixels "
        "of the picture, or a .geojson with one polygon"
    )
    beams: Beams | None = Field(
        description="of the search, 1 is greedy; null: 3, or none where a temperature above 0 samples"
    )
    max_new: Tokens = Field(description="most tokens of the answer")
    knowledge: PathWord | None = Field(
        description="a store of rsmoe knowledge, whose notes on the picture stand before the question"
    )
    temperature: Temperature = Field(description="0: the search; above 0 tokens are drawn, the higher the more freely")
    top_p: Share = Field(description="share of the probability that is drawn from, the most probable tokens first")
    seed: Seed = Field(description="of what is drawn for each request, the same alone and among others")
    stop: Words = Field(description="the answer ends before the first of these texts, ['.',';']; []: none")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    batch_size: BatchSize = Field(description="requests that go through the model at once")
    out: OutPath | None = Field(
        description="a folder for answers.jsonl, footprints, boxes, masks and maps, or mask.png for a mask"
    )
    boxes: Name | None = Field(
        description="how answers write boxes (minigpt, lhrs, pixel_xyxy ...); null: as in training, where known"
    )
    raster: Raster
    gsd_m: Positive | None = Field(description=GSD)
    tile: Annotated[int, Ge(8), Le(100_000)] | Literal[0] | None = Field(
        description="side in pixels of the tiles of maps, masks and boxes; null: maps in tiles of the side of the "
        "model's pictures, masks and boxes of the whole picture; 0: no tiles"
    )
    simplify_px: Share = Field(description=SIMPLIFY)
    layers: Literal["gpkg", "fgb"] | None = Field(
        description="polygons for a GIS beside the GeoJSON in out=: gpkg, all in layers.gpkg; fgb, FlatGeobuf, one each"
    )
    classes: Words = Field(
        description='names of the kinds of change, the first is "no change"; []: the training data\'s'
    )

    def model_post_init(self, context: object) -> None:
        """One source of requests, and one way to decode."""
        if (self.image is None) == (self.requests is None):
            raise UserError(
                "give image=... or requests=..., one of them: a file, [before,after], a folder or a pattern; or a "
                "jsonl with one request a line"
            )
        if self.layers is not None and self.out is None:
            raise UserError(f"layers={self.layers} is about the files of an answer: give out=folder too")
        if self.temperature > 0 and (self.beams or 1) > 1:
            raise UserError(
                f"temperature={self.temperature:g} draws tokens, beams={self.beams} searches: give one of them"
            )
        if self.temperature == 0 and self.top_p < 1:
            raise UserError(
                f"top_p={self.top_p:g} limits what is drawn, and temperature=0 draws nothing: give temperature=1 too"
            )
