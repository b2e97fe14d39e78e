"""Keys of ``python -m rsmoe.score``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsmoe.settings.evaluate import Metrics
from rsmoe.settings.model import Settings
from rsmoe.settings.release import Release
from rsmoe.settings.types import Draws, Name, PathWord, Seed, Word


class Score(Settings):
    """Scores a file of predictions, anyone's, under a named protocol."""

    examples = (
        "protocol=caption/coco-ptb@1 predictions=p.jsonl references=r.json",
        "protocol=vqa/rsvqa@1 predictions=p.jsonl data=rsvqa_lr data.root=/data json=true",
        "protocol=caption/coco-ptb@1 predictions=ours.json compare=theirs.json references=r.json",
    )
    groups = ("data", "metric")

    data: Release | None = Field(None, description="a data set to read the references from, instead of a file")
    protocol: Word = Field(description="caption/coco-ptb@1, vqa/rsvqa@1, ground/hbb@1 ...")
    predictions: PathWord = Field(
        description="our predictions.jsonl, COCO results, {id: text}, a .txt of lines, a folder of maps"
    )
    references: PathWord | None = Field(
        description="rows with id and references, Karpathy, COCO, {id: [texts]}, a .txt of lines, a folder of maps"
    )
    compare: PathWord | None = Field(
        description="another file of predictions on the same references: adds the paired difference"
    )
    split: Name = Field(description="of references that hold several splits")
    vocabulary: PathWord | None = Field(
        description="{word: id}, for protocols on word ids; null: the words of the training captions beside"
    )
    draws: Draws = Field(description="resampled test sets for the 95 % intervals; 0 for none")
    seed: Seed = Field(description="of the draws")
    missing: Literal["wrong", "error"] = Field(
        description="references without a prediction count as wrong and are named in a warning, or are an error"
    )
    evaluation: Metrics
    json_: bool = Field(alias="json", description="json on standard output instead of the table")
