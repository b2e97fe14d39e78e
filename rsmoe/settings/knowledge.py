"""Keys of ``python -m rsmoe.commands.knowledge``."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.types import BatchSize, Device, Number, OutFolder, PathWord, Pixels, Seed


class Landmarks(Settings):
    """Generated landmarks."""

    split: Literal["train", "val", "test"] = Field(description="no two splits share a place")
    size: Number = Field(description="places")
    seed: Seed = Field(description="of the world")
    size_px: Pixels = Field(description="side of the pictures")


class Knowledge(Settings):
    """Makes a store of what is known of places, for knowledge=<store> of predict and evaluate."""

    examples = (
        "out=store  (generated landmarks)",
        "notes=places.csv images=pictures out=store",
        "notes=markdown out=store checkpoint=models/remoteclip alike=0.85",
        "notes=ori_data_test.json images=images out=store",
    )

    notes: PathWord | None = Field(
        description="a .csv, a folder of .md, or the .json of RSWK's records; null: generated landmarks"
    )
    images: PathWord | None = Field(
        description="the folder that the notes name their pictures in; null: the notes' own"
    )
    out: OutFolder = Field(description="the folder of the store")
    checkpoint: PathWord = Field(
        description="what embeds: starter, a run with a retrieval expert, a run of contrast, a CLIP or SigLIP folder"
    )
    alike: Annotated[float, Ge(-1), Le(1)] = Field(description="least cosine of two pictures of one place")
    limit: Number = Field(description="most notes before a question")
    weight: Annotated[float, Ge(0), Le(1)] = Field(
        description="of how near a note's picture or place is, against its text"
    )
    lookup: bool = Field(
        description="true: also notes with the picture that is asked about; evaluate leaves them out in any case"
    )
    batch_size: BatchSize = Field(description="pictures that go through the model at once")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    generated: Landmarks
