"""The ASGI application: its paths, its page and its errors."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import rsmoe
from rsmoe.evaluation.assistant import Assistant
from rsmoe.settings.serve import Serve
from rsmoe.web.completions import Completions
from rsmoe.web.embeddings import Embeddings
from rsmoe.web.examples import NAMES, example
from rsmoe.web.guard import Guard
from rsmoe.web.problem import Problem
from rsmoe.web.service import Service
from rsmoe.web.uploaded_rasters import UploadedRasters

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class App:
    """Everything that the server answers.

    Args:
        model: who answers.
        name: of the checkpoint, for the page.
        settings: limits, key and batches.
    """

    def __init__(self, *, model: Assistant, name: str, settings: Serve) -> None:
        self.model, self.name, self.settings = model, name, settings
        self.started = int(time.time())
        self.service = Service(model=model, settings=settings)
        self.page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        rasters = UploadedRasters(service=self.service)
        self.asgi = Starlette(
            routes=[
                Route("/", self.index),
                Route("/examples/{name}.tif", self.example),
                Route("/health", self.health),
                Route("/metrics", self.metrics),
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", Completions(service=self.service).__call__, methods=["POST"]),
                Route("/v1/embeddings", Embeddings(service=self.service).__call__, methods=["POST"]),
                Route("/segment", rasters.segment, methods=["POST"]),
                Route("/ground", rasters.ground, methods=["POST"]),
                Route("/change", rasters.change, methods=["POST"]),
            ],
            middleware=[
                Middleware(
                    Guard,
                    key=settings.key,
                    max_bytes=settings.max_mb * 2**20,
                    seconds=settings.body_seconds,
                    queue=settings.queue,
                    local=settings.host in _LOOPBACK,
                    counters=self.service.counters,
                )
            ],
            exception_handlers={Problem: _problem, HTTPException: _http, Exception: _defect},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        await run_sync(self.service.batcher.close)

    async def index(self, _: Request) -> Response:
        """The page, which may run its own script alone and reach this server alone."""
        scripts, styles = (
            " ".join(f"'sha256-{_digest(text)}'" for text in re.findall(f"<{tag}>(.*?)</{tag}>", self.page, re.DOTALL))
            for tag in ("script", "style")
        )
        policy = f"default-src 'none'; connect-src 'self'; img-src data: blob:; script-src {scripts}; "
        policy += f"style-src {styles}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(self.page, headers=headers | {"Referrer-Policy": "no-referrer"})

    async def example(self, request: Request) -> Response:
        """A generated scene to ask about.

        Raises:
            HTTPException: there is none of this name.
        """
        name = request.path_params["name"]
        if name not in NAMES:
            raise HTTPException(404, "Not Found")
        return Response(await run_sync(example, name), media_type="image/tiff")

    async def health(self, _: Request) -> Response:
        """Whether it runs."""
        return JSONResponse({"status": "ok", "version": rsmoe.__version__})

    async def metrics(self, _: Request) -> Response:
        """For Prometheus."""
        return PlainTextResponse(self.service.counters.text(), media_type="text/plain; version=0.0.4")

    async def models(self, _: Request) -> Response:
        """The mixture and its experts; beside them, in ``rsmoe``, what the model reads and the limits of the server."""
        run, settings = self.model.run, self.settings
        known = {
            "checkpoint": self.name, "experts": self.model.experts, "dates": sorted(self.model.dates),
            "bands": run.config["bands"], "image_size": run.config["image_size"], "maps": sorted(run.model.maps),
            "change_classes": run.change_classes, "max_mb": settings.max_mb, "max_pixels": settings.max_pixels,
            "max_pictures": settings.max_pictures, "max_tokens": settings.max_new, "max_n": settings.batch_size,
            "boxes": run.box_convention, "embeds": self.model.embeds,
        }  # fmt: skip
        listed = [
            {"id": name, "object": "model", "created": self.started, "owned_by": "rsmoe"}
            for name in self.service.models
        ]
        return JSONResponse({"object": "list", "data": listed, "rsmoe": known})


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}").response()


async def _defect(_: Request, error: Exception) -> Response:
    return Problem(500, f"the server failed ({type(error).__name__}); its log says more").response()
