"""The model behind the server: from uploads to a reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from anyio.to_thread import run_sync

from rsmoe.errors import UserError
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.request import Request
from rsmoe.settings.serve import Serve
from rsmoe.web.batcher import Batcher, Work
from rsmoe.web.counters import Counters
from rsmoe.web.embedding_job import EmbeddingJob
from rsmoe.web.job import Job
from rsmoe.web.problem import Problem
from rsmoe.web.uploads import Uploads
from rsmoe.web.upstream import Upstream, UpstreamError

Result = TypeVar("Result")
MIXTURE = "mixture"
"""The model whose router chooses; every other name is that of an expert."""
_UPSTREAM_PASSES = 8
"""At a time: while one waits for another server, the next is seen and routed here."""


class Service:
    """Opens pictures, hands jobs to the batcher, and makes a `Problem` of whatever fails.

    Args:
        model: who answers.
        settings: limits and batches; with ``upstream`` the fusion of the model is replaced by `Upstream`.

    Raises:
        UserError: an upstream server that cannot be used.
    """

    def __init__(self, *, model: Assistant, settings: Serve) -> None:
        self.model, self.settings, self.counters = model, settings, Counters()
        if settings.upstream is not None:
            if settings.beams > 1:
                raise UserError(f"beams={settings.beams}: an upstream server does not search; give beams=1")
            run = model.run
            run.model.fusion = Upstream(
                url=settings.upstream, key=settings.upstream_key, seconds=settings.upstream_seconds, codec=run.codec,
                names=run.model.names, bank=run.model.bank,
            )  # fmt: skip
        self.batcher = Batcher(
            model=model, window_s=settings.window_ms / 1000, size=settings.batch_size, counters=self.counters,
            threads=1 if settings.upstream is None else _UPSTREAM_PASSES,
        )  # fmt: skip

    @property
    def models(self) -> tuple[str, ...]:
        """Names that a request may give as its model."""
        return tuple(dict.fromkeys((MIXTURE, *self.model.experts)))

    def uploads(self) -> Uploads:
        """For the pictures of one request."""
        given = self.settings
        files = None if given.files is None else Path(given.files)
        return Uploads(files=files, max_pixels=given.max_pixels, max_pictures=given.max_pictures)

    def expert(self, name: str) -> str | None:
        """The expert of a model's name; None for the mixture.

        Raises:
            Problem: there is no such model.
        """
        if name not in self.models:
            known = ", ".join(self.models)
            raise Problem(404, f"no model {name[:80]!r}; there are {known}", param="model", code="model_not_found")
        return None if name == MIXTURE else name

    async def open(self, uploads: Uploads, contents: Sequence[str | bytes], request: Request, **options: Any) -> Job:
        """Saves and reads the pictures of a request.

        Args:
            contents: see `Uploads.save`.
            request: without its pictures.
            options: of `Job`.

        Raises:
            Problem: see `Uploads.save`; pictures that the model cannot read, or not together.
        """

        def opened() -> Job:
            asked = replace(request, pictures=uploads.save(contents))
            try:
                return Job(request=asked, opened=self.model.open(asked), **options)
            except UserError as error:
                raise Problem(400, uploads.message(error), code="invalid_image") from error

        return await run_sync(opened)

    async def open_each(
        self, uploads: Uploads, contents: Sequence[str | bytes], request: Request
    ) -> list[EmbeddingJob]:
        """Saves and reads pictures that are embedded each by itself; as `open`."""

        def opened() -> list[EmbeddingJob]:
            asked = [replace(request, pictures=(path,)) for path in uploads.save(contents)]
            try:
                return [EmbeddingJob(content=(one, self.model.open(one))) for one in asked]
            except UserError as error:
                raise Problem(400, uploads.message(error), code="invalid_image") from error

        return await run_sync(opened) if contents else []

    async def reply(self, job: Work[Result]) -> Result:
        """The answer, in a batch with those of others.

        Raises:
            Problem: the model refuses the request, or fails.
        """
        try:
            return await asyncio.wrap_future(self.batcher.submit(job))
        except UserError as error:
            raise Problem(400, str(error)) from error
        except UpstreamError as error:
            logging.getLogger("uvicorn.error").error("upstream: %s", error)
            raise Problem(
                502, "the server of the experts does not answer; the log says more", code="upstream"
            ) from error
        except Exception as error:
            logging.getLogger("uvicorn.error").exception("a request failed")
            raise Problem(500, f"the model could not answer this request ({type(error).__name__})") from error
