"""``/v1/chat/completions``: answers in OpenAI's form, whole or as server-sent events."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from rsmoe.cli.terminal import printable
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.request import Request as Asked
from rsmoe.web.batcher import Job
from rsmoe.web.chat import ChatRequest, question, read_chat
from rsmoe.web.layers import beside
from rsmoe.web.problem import Problem
from rsmoe.web.service import Service


@dataclass(frozen=True, kw_only=True)
class _Answer:
    text: str
    finish: str
    usage: dict[str, int]
    extra: dict[str, Any]


class Completions:
    """Chat completions of one service.

    Args:
        service: who answers.
    """

    def __init__(self, *, service: Service) -> None:
        self.service = service

    async def __call__(self, request: Request) -> Response:
        """One request.

        Raises:
            Problem: see `read_chat`, `question` and `Service`.
        """
        service, settings = self.service, self.service.settings
        chat = await run_sync(read_chat, await request.body())
        asked = question(chat)
        notes = list(asked.notes)
        limit = chat.max_completion_tokens or chat.max_tokens or settings.max_new
        if limit > settings.max_new:
            notes.append(f"at most {settings.max_new} tokens, the limit of this server")
        words = Asked(
            id="request", pictures=(), instruction=asked.instruction, history=asked.history,
            expert=service.expert(chat.model),
        )  # fmt: skip
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": chat.model}
        with ExitStack() as stack:
            uploads = stack.enter_context(service.uploads())
            job = await service.open(
                uploads, asked.pictures, words,
                beams=chat.rsmoe.beams or settings.beams, max_new=min(limit, settings.max_new),
            )  # fmt: skip
            if chat.stream:
                events = self._events(stack.pop_all(), job, chat, head, notes)
                return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
            reply = await service.reply(job)
            answer = await run_sync(self._answer, chat, notes, job, reply)
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
        return JSONResponse(
            head | {"object": "chat.completion", "choices": [choice], "usage": answer.usage, "rsmoe": answer.extra}
        )

    def _answer(self, chat: ChatRequest, notes: list[str], job: Job, reply: Reply) -> _Answer:
        codec = self.service.model.run.codec
        asked, said = len(codec.encode(reply.instruction)), len(codec.encode(reply.text))
        wanted = chat.rsmoe
        return _Answer(
            text=printable(reply.text),
            finish="length" if said >= job.max_new else "stop",
            usage={"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
            extra=beside(
                self.service.model, reply, geojson=wanted.geojson, pictures=wanted.pictures, notes=notes
            ),
        )  # fmt: skip

    async def _events(
        self, stack: ExitStack, job: Job, chat: ChatRequest, head: dict[str, Any], notes: list[str]
    ) -> AsyncIterator[str]:
        """Tokens as they are decoded (of a beam search, the whole text at the end), then what stands beside them."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        head = head | {"object": "chat.completion.chunk"}

        def piece(text: str) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, text)

        def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event(head | {"choices": [choice]} | more)

        with stack:
            yield event({"role": "assistant", "content": ""})
            waiting = asyncio.ensure_future(self.service.reply(replace(job, on_text=piece)))
            waiting.add_done_callback(lambda _: pieces.put_nowait(None))
            sent = ""
            try:
                while (text := await pieces.get()) is not None:
                    sent += text
                    yield event({"content": text})
                answer = await run_sync(self._answer, chat, notes, job, await waiting)
            except Problem as problem:
                yield _event(problem.content)
                return
            finally:
                waiting.cancel()
            if rest := answer.text.removeprefix(sent):
                yield event({"content": rest})
            yield event({}, answer.finish, rsmoe=answer.extra)
            if chat.stream_options is not None and chat.stream_options.include_usage:
                yield _event(head | {"choices": [], "usage": answer.usage})
            yield "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
