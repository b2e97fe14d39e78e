"""Keys of ``python -m rsmoe.evaluate``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.release import Root
from rsmoe.settings.types import (
    BatchSize,
    Beams,
    Count,
    Device,
    Devices,
    Draws,
    Name,
    Number,
    OutFolder,
    Part,
    PathWord,
    Tokens,
    Words,
    Workers,
)


class Ranks(Settings):
    """Processes of one evaluation."""

    accelerator: Name = Field(description="auto, cpu or gpu")
    devices: Devices = Field(description="processes on each machine; auto: all devices")
    num_nodes: Number = Field(description="machines")


class Metrics(Settings):
    """Metrics beside those of each task."""

    metrics: Part = Field(description="+metric=<name>, of conf/metric or your own")


class Evaluate(Settings):
    """Answers and scores benchmarks with a trained model; typed again, it goes on where it stopped."""

    examples = (
        "checkpoint=runs/ucm_moe benchmark=ucm_captions",
        "checkpoint=runs/ucm_moe benchmark=[ucm_captions,rsvqa_lr] data.root=/data",
        "checkpoint=runs/ucm_moe benchmark=ucm_captions limit=50 beams=1",
        "checkpoint=runs/ucm_moe benchmark=ucm_captions router=uniform",
        "checkpoint=runs/mine benchmark=[landmarks,landmarks_seen] knowledge=store",
        "checkpoint=runs/ucm_moe benchmark=scenes dry=true",
    )
    groups = ("benchmark", "metric", "router")

    benchmark: Part | None = Field(None, description="one, or [several,of,them]")
    checkpoint: PathWord = Field(description="a run folder, a checkpoint file, a folder of save_pretrained, or starter")
    router: Part | None = Field(
        None, description="uniform, hash or oracle in the place of the trained router: a control"
    )
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    out: OutFolder | None = Field(
        description="folder of the results, one in it for each benchmark; null: <run folder>/evaluation/<checkpoint>"
    )
    dry: bool = Field(description="true: says what would be asked, and asks nothing")
    data: Root
    beams: Beams | None = Field(description="of the search; null: as the benchmark says")
    max_new: Tokens | None = Field(description="most tokens of an answer; null: as the benchmark says")
    knowledge: PathWord | None = Field(
        description="a store of rsmoe knowledge, whose notes on the picture stand before every question"
    )
    limit: Number | None = Field(
        description="n samples of each benchmark, evenly spread; the results go into a folder of their own, partial/"
    )
    sample_ids: Annotated[Words, Len(1)] | None = Field(description="[id,id]: these samples alone")
    batch_size: BatchSize = Field(description="samples a batch, on each rank")
    workers: Workers = Field(description="loader processes, on each rank")
    neighbours: Number | None = Field(
        description="most training samples that the trivial baselines learn from, evenly spread; null: all"
    )
    draws: Draws = Field(description="of the bootstrap that gives 95 % intervals; 0: none")
    pictures: Count = Field(description="samples among the worst, and among the best, of each task in report.md")
    ranks: Ranks
    evaluation: Metrics
