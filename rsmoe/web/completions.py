"""``/v1/chat/completions``: answers in OpenAI's form, whole or as server-sent events."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from rsmoe.cli.terminal import printable
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.request import Request as Asked
from rsmoe.web.chat import ChatRequest, question, read_chat
from rsmoe.web.job import Job
from rsmoe.web.layers import rsmoe_field
from rsmoe.web.problem import Problem
from rsmoe.web.service import MIXTURE, Service


@dataclass(frozen=True, kw_only=True)
class _Answer:
    text: str
    finish: str
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
        if settings.upstream is not None and chat.model == MIXTURE:
            notes.append("written by the expert of the highest weight alone, upstream")
        if (chat.n or 1) > settings.batch_size:
            raise Problem(400, f"n={chat.n}: this server gives up to {settings.batch_size} choices", param="n")
        limit = chat.max_completion_tokens or chat.max_tokens or settings.max_new
        if limit > settings.max_new:
            notes.append(f"at most {settings.max_new} tokens, the limit of this server")
        each = chat.decodings(max_new=min(limit, settings.max_new), codec=service.model.run.codec)
        words = Asked(
            id="request", pictures=(), instruction=asked.instruction, history=asked.history,
            expert=service.expert(chat.model),
        )  # fmt: skip
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": chat.model}
        with ExitStack() as stack:
            uploads = stack.enter_context(service.uploads())
            job = await service.open(
                uploads, asked.pictures, words, beams=self._beams(chat), prompts=chat.rsmoe.prompts
            )
            jobs = [replace(job, request=replace(job.request, decoding=one), reply=Future()) for one in each]
            if chat.stream:
                events = self._events(stack.pop_all(), jobs, chat, head, notes)
                return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
            replies = await asyncio.gather(*(service.reply(job) for job in jobs))
            answers = [await run_sync(self._answer, chat, notes, reply) for reply in replies]
        choices: list[dict[str, Any]] = []
        for index, answer in enumerate(answers):
            message = {"role": "assistant", "content": answer.text, "refusal": None}
            own = {"rsmoe": answer.extra} if index else {}  # that of the first stands beside the choices
            choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish} | own)
        whole = {"object": "chat.completion", "choices": choices, "usage": _usage(replies), "rsmoe": answers[0].extra}
        return JSONResponse(head | whole)

    def _beams(self, chat: ChatRequest) -> int:
        """Width of the search; 1 for samples."""
        beams, temperature = chat.rsmoe.beams, chat.effective_temperature
        if temperature == 0:
            return beams or self.service.settings.beams
        if (beams or 1) > 1:
            raise Problem(
                400, f"rsmoe.beams={beams} searches, temperature={temperature:g} draws: give one of them",
                param="rsmoe.beams",
            )  # fmt: skip
        return 1

    def _answer(self, chat: ChatRequest, notes: list[str], reply: Reply) -> _Answer:
        return _Answer(
            text=printable(reply.text),
            finish="stop" if reply.ended else "length",
            extra=rsmoe_field(self.service.model, reply, wanted=chat.rsmoe, notes=notes),
        )

    async def _events(
        self, stack: ExitStack, jobs: Sequence[Job], chat: ChatRequest, head: dict[str, Any], notes: list[str]
    ) -> AsyncIterator[str]:
        """Tokens as they are decoded (of a beam search, the whole text at the end), then what stands beside them."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[tuple[int, str | None]]()
        head = head | {"object": "chat.completion.chunk"}

        def piece(index: int, text: str) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, (index, text))

        def ended(index: int, _: Any) -> None:
            pieces.put_nowait((index, None))

        def event(index: int, delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event(head | {"choices": [choice]} | more)

        with stack:
            for index in range(len(jobs)):
                yield event(index, {"role": "assistant", "content": ""})
            heard = [replace(job, on_text=partial(piece, index)) for index, job in enumerate(jobs)]
            waiting = [asyncio.ensure_future(self.service.reply(job)) for job in heard]
            for index, task in enumerate(waiting):
                task.add_done_callback(partial(ended, index))
            sent, left = [""] * len(jobs), len(jobs)
            try:
                while left:
                    index, text = await pieces.get()
                    if text is not None:
                        sent[index] += text
                        yield event(index, {"content": text})
                        continue
                    left -= 1
                    answer = await run_sync(self._answer, chat, notes, await waiting[index])
                    if rest := answer.text.removeprefix(sent[index]):
                        yield event(index, {"content": rest})
                    yield event(index, {}, answer.finish, rsmoe=answer.extra)
            except Problem as problem:
                yield _event(problem.content)
                return
            finally:
                for task in waiting:
                    task.cancel()
            if chat.stream_options is not None and chat.stream_options.include_usage:
                yield _event(head | {"choices": [], "usage": _usage([task.result() for task in waiting])})
            yield "data: [DONE]\n\n"


def _usage(replies: Sequence[Reply]) -> dict[str, int]:
    """Tokens of the prompt, which all choices share, and of the choices together."""
    asked, said = replies[0].prompt_tokens, sum(reply.tokens for reply in replies)
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
