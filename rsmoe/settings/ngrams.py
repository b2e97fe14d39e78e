"""Keys of ``python -m rsmoe.commands.ngrams``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.release import Root
from rsmoe.settings.types import Name, Number, OutFile, PathWord, Pixels, Seed


class Ngrams(Settings):
    """Counts the n-grams that generated change captions share with LEVIR-CC's real ones."""

    examples = (
        "data.root=/data",
        "captions=captions_train_val.json pairs=100",
        "pairs=2000 show=4 out=ngrams.json",
    )

    captions: PathWord | None = Field(
        description="json of LEVIR-CC, or {image: [captions]}; null: $RSMOE_DATA/levir_cc/captions_train_val.json"
    )
    data: Root
    split: Name = Field(description="of the generated pairs: train, val or test")
    pairs: Number = Field(description="generated pairs")
    size_px: Pixels = Field(description="side of their pictures")
    seed: Seed = Field(description="of the generator")
    show: Annotated[int, Ge(1), Le(10)] = Field(description="words of the real phrases that are never generated")
    out: OutFile | None = Field(description="a json of the shares")
