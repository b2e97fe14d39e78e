"""Loaders of a training, see `rsmoe.data.datamodule.RSDataModule`."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.types import BatchSize, Count, Number, PathWord, Share, Workers

Length = Annotated[int, Ge(2), Le(100_000)]


class Collate(Settings):
    """How samples become tensors; a key with a default here is added by ``+``."""

    max_prompt: Length = Field(description="most tokens of a request to the language model; earlier ones are cut off")
    max_instruction: Length | None = Field(None, description="most tokens of the Q-Former's instruction")
    max_response: Length = Field(description="most tokens of a response")
    crop_area: Annotated[float, Gt(0), Le(1)] = Field(
        description="least share of a picture that a crop keeps; 1: no crop"
    )
    jitter: Share = Field(description="of brightness and contrast")
    align_px: Count | None = Field(None, description="most pixels that a date is moved to lie on the first")
    match_levels: bool | None = Field(None, description="bring a date to the levels of the first, band by band")
    window_px: list[Number] | None = Field(
        None, description="least and greatest side of windows that training sees of a picture, in its pixels: [160,400]"
    )
    cache_bytes: Annotated[int, Ge(0)] | None = Field(None, description="memory for decoded pictures")


class Stream(Settings):
    """Options of `rsmoe.data.shards.stream.Stream`."""

    temperature: Annotated[float, Gt(0)] | None = Field(None, description="1: by size; the greater, the more equal")
    buffer: Number | None = Field(None, description="draws that are shuffled, of each data set on each rank")
    lanes: Annotated[int, Ge(1), Le(1024)] | None = Field(None, description="parts that are read side by side")
    check_: bool | None = Field(None, alias="check", description="decode pictures and masks as a test")
    max_bad_fraction: Share | None = Field(None, description="share of samples that may be bad")
    quarantine: PathWord | None = Field(None, description="jsonl of what could not be read")


class Loader(Settings):
    """What feeds the model."""

    eval_batch_size: BatchSize = Field(description="samples a batch in evaluation, on each rank")
    workers: Workers = Field(description="processes that load for each training process")
    augment: bool | None = Field(None, description="false: training pictures as they are")
    stream: Stream | None = Field(None, description="{}: shards are read as streams")
    collate: Collate
