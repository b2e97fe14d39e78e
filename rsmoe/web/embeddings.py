"""``/v1/embeddings``: texts and pictures in the space of the retrieval expert, in OpenAI's form."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Literal

import numpy as np
from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rsmoe.evaluation.embedding import EMBED
from rsmoe.evaluation.request import Request as Asked
from rsmoe.web.chat import Part, Text
from rsmoe.web.embedding_job import EmbeddingJob
from rsmoe.web.problem import Problem
from rsmoe.web.service import MIXTURE, Service

_MOST = 256
"""Inputs of one request."""
_PICTURE = "data:image/"


class EmbeddingRequest(BaseModel):
    """A request; fields of OpenAI's form that are not named here are not read."""

    model_config = ConfigDict(extra="ignore")

    model: str = MIXTURE
    input: Any
    """A text, a picture as ``data:image/...``, a part of a message, or a list of these."""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class Embeddings:
    """Embeddings of one service.

    Args:
        service: who answers.
    """

    def __init__(self, *, service: Service) -> None:
        self.service = service

    async def __call__(self, request: Request) -> Response:
        """One request: the dot product of two of the vectors is their cosine.

        Raises:
            Problem: see `Service`; no input, too many, or of another form; a model that embeds nothing.
        """
        service = self.service
        if not service.model.embeds:
            raise Problem(400, "this model has no retrieval expert: serve one trained with expert=[...,retrieval]")
        asked = await run_sync(_read, await request.body())
        parts = _parts(asked.input)
        pictures = Asked(id="request", pictures=(), instruction=EMBED, expert=service.expert(asked.model))
        with service.uploads() as uploads:
            places = [part.address for part in parts if part.type == "image_url"]
            opened = iter(await service.open_each(uploads, places, pictures))
            jobs = [
                next(opened) if part.type == "image_url" else EmbeddingJob(content=part.text or "") for part in parts
            ]
            found = await asyncio.gather(*(service.reply(job) for job in jobs))
        if asked.dimensions not in (None, len(found[0].vector)):
            raise Problem(
                400, f"dimensions={asked.dimensions}: this model has {len(found[0].vector)}", param="dimensions"
            )
        listed = [
            {"object": "embedding", "index": index, "embedding": _written(one.vector, asked.encoding_format)}
            for index, one in enumerate(found)
        ]
        read = sum(one.tokens for one in found)
        usage = {"prompt_tokens": read, "total_tokens": read}
        return JSONResponse({"object": "list", "data": listed, "model": asked.model, "usage": usage})


def _read(body: bytes) -> EmbeddingRequest:
    try:
        return EmbeddingRequest.model_validate_json(body)
    except ValidationError as error:
        raise Problem.of(error) from None


def _parts(given: Any) -> list[Part]:
    """Texts and pictures in their order."""
    items = given if isinstance(given, list) else [given]
    if not 1 <= len(items) <= _MOST:
        raise Problem(400, f"input: {len(items)} texts or pictures; send 1 to {_MOST}", param="input")
    parts = []
    for place, item in enumerate(items):
        if not isinstance(item, str | dict):
            raise Problem(400, f"input.{place}: expected a text or a picture, not token ids", param=f"input.{place}")
        try:
            if isinstance(item, dict):
                part = Part.model_validate(item)
            elif item.startswith(_PICTURE):
                part = Part(type="image_url", image_url=item)
            else:
                part = Part(type="text", text=TypeAdapter(Text).validate_python(item))
        except ValidationError as error:
            raise Problem.of(error, within=f"input.{place}") from None
        if part.type == "text" and not (part.text or "").strip():
            raise Problem(400, f"input.{place}: an empty text; give at least one word", param=f"input.{place}")
        parts.append(part)
    return parts


def _written(vector: np.ndarray, form: str) -> list[float] | str:
    numbers = vector.astype("<f4")
    return numbers.tolist() if form == "float" else base64.b64encode(numbers.tobytes()).decode()
