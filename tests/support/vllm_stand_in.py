"""Speaks vLLM's ``/v1/completions`` with prompt embeddings, over transformers and PEFT: no code of rsmoe."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import uvicorn
from peft import PeftModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from transformers import AutoModelForCausalLM


class StandIn:
    """The base of an exported folder with all its adapters.

    Args:
        folder: that ``rsmoe export`` wrote.
        names: of the adapters.
        key: that requests have to send.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], *, key: str | None = None) -> None:
        base = AutoModelForCausalLM.from_pretrained(folder / "base")
        self.model = PeftModel.from_pretrained(base, folder / names[0], adapter_name=names[0])
        for name in names[1:]:
            self.model.load_adapter(folder / name, adapter_name=name)
        self.model.eval()
        self.names, self.key, self.lock = names, key, threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.fault = ""
        """"status", "event", "cut" or "no ids": what goes wrong from now on."""
        routes = [Route("/v1/models", self.models), Route("/v1/completions", self.complete, methods=["POST"])]
        self.asgi = Starlette(routes=routes)

    async def models(self, request: Request) -> Response:
        if self._locked(request):
            return JSONResponse({"error": {"message": "Unauthorized"}}, 401)
        return JSONResponse({"object": "list", "data": [{"id": name} for name in ("base", *self.names)]})

    def _locked(self, request: Request) -> bool:
        return self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}"

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if self._locked(request):
            return JSONResponse({"error": {"message": "Unauthorized"}}, 401)
        if body["model"] not in self.names or self.fault == "status":
            return JSONResponse({"error": {"message": f"The model `{body['model']}` does not exist."}}, 404)
        return StreamingResponse(self._events(body), media_type="text/event-stream")

    def _events(self, body: dict[str, Any]) -> Iterator[str]:
        assert body["stream"] and "prompt" not in body
        if self.fault == "event":
            yield 'data: {"error": {"message": "out of memory"}}\n\n'
        ids = self._decode(body)
        for number, token in enumerate(ids):
            last = number + 1 == len(ids)
            stopped = "stop" if token in body["stop_token_ids"] else "length"
            choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": stopped if last else None}
            if body.get("return_token_ids") and self.fault != "no ids":
                choice["token_ids"] = [token]
            yield f"data: {json.dumps({'object': 'text_completion', 'choices': [choice]})}\n\n"
            if self.fault == "cut":
                return
        yield "data: [DONE]\n\n"

    @torch.no_grad()
    def _decode(self, body: dict[str, Any]) -> list[int]:
        """Greedy, or drawn by torch where the temperature is above 0; the end token is the last one."""
        embeds = torch.load(io.BytesIO(base64.b64decode(body["prompt_embeds"], validate=True)), weights_only=True)
        assert embeds.ndim == 2 and embeds.is_floating_point()
        embeds, written = embeds[None], []
        random = torch.Generator().manual_seed(body.get("seed", 0))
        with self.lock:
            self.model.set_adapter(body["model"])
            table = self.model.get_input_embeddings()
            while len(written) < body.get("max_tokens", 16):
                logits = self.model(inputs_embeds=embeds).logits[0, -1]
                if body.get("temperature", 1.0) == 0:
                    token = int(logits.argmax())
                else:
                    token = int((logits / body["temperature"]).softmax(-1).multinomial(1, generator=random))
                written.append(token)
                if token in body["stop_token_ids"] or (
                    token == self.model.config.eos_token_id and not body["ignore_eos"]
                ):
                    break
                embeds = torch.cat([embeds, table(torch.tensor([[token]]))], dim=1)
        return written


@contextmanager
def standing_in(folder: Path, names: tuple[str, ...], *, key: str | None = None) -> Iterator[tuple[str, StandIn]]:
    """Its address, ending in /v1."""
    app = StandIn(folder, names, key=key)
    server = uvicorn.Server(uvicorn.Config(app.asgi, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1", app
    finally:
        server.should_exit = True
        thread.join(20)
