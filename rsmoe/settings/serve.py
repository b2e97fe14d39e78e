"""Keys of ``python -m rsmoe.serve``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le, Len
from pydantic import Field

from rsmoe.settings.model import Settings
from rsmoe.settings.types import BatchSize, Beams, Device, Number, PathWord, Positive, Tokens, Verbatim, Word


class Serve(Settings):
    """Serves a trained model: an API in OpenAI's form, GeoJSON of uploads, and a page in the browser."""

    examples = (
        "port=9000 beams=3",
        "checkpoint=runs/changechat_moe",
        "checkpoint=runs/rsicap_moe host=0.0.0.0 key=secret files=/data/scenes",
        "checkpoint=exported upstream=http://127.0.0.1:8001/v1",
    )

    checkpoint: PathWord = Field(description="starter, a run folder, a checkpoint file, or a folder of save_pretrained")
    device: Device = Field(description="where the model runs; auto: CUDA where there is one, else the CPU")
    host: Word = Field(description="address to listen on; 0.0.0.0: every network of this machine")
    port: Annotated[int, Ge(0), Le(65_535)] = Field(description="0: any that is free")
    key: Annotated[str, Len(1), Verbatim()] | None = Field(description="that clients have to send; null: none")
    files: PathWord | None = Field(description="a folder whose files requests may name, file:a.tif; null: none")
    upstream: Word | None = Field(
        description="server of OpenAI's API whose adapters write the answers, http://host:port/v1; see rsmoe export"
    )
    upstream_key: Annotated[str, Len(1), Verbatim()] | None = Field(description="that this server asks for; null: none")
    upstream_seconds: Positive = Field(description="that it may be silent")
    beams: Beams = Field(description="of the search; 1 is greedy, and streams token by token")
    max_new: Tokens = Field(description="most tokens of an answer")
    batch_size: BatchSize = Field(
        description="most requests that go through the model at once, and most answers to one of them"
    )
    window_ms: Annotated[float, Ge(0), Le(10_000)] = Field(
        description="how long a pass waits for another request, from the last that came"
    )
    queue: Number = Field(description="requests that are read, wait or are answered at a time; more get status 429")
    max_mb: Annotated[int, Ge(1), Le(65_536)] = Field(description="of a request")
    max_pixels: Number = Field(description="of one picture")
    max_pictures: Annotated[int, Ge(1), Le(64)] = Field(description="of one request")
    body_seconds: Positive = Field(
        description="in which a client has to send its request, and to take each piece of the answer"
    )
