"""ASGI middleware: what is refused before a request is read."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request

from rsmoe.web.counters import Counters
from rsmoe.web.problem import Problem

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_OPEN = ("/", "/health")
"""Paths that need no key."""
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")


class Guard:
    """Refuses bodies that are too large or too slow, requests beyond the queue, other sites, and wrong keys.

    Args:
        app: what answers the others.
        key: that ``Authorization: Bearer <key>`` has to give; None asks for none.
        max_bytes: of a body.
        seconds: until a body has been sent, and in which a client has to take each piece of an answer.
        queue: requests with a body that are read, wait or are answered at a time.
        local: whether the server listens on this machine alone; then other names of it are refused, as a page of
            another site would use them (DNS rebinding).
        counters: of requests.
    """

    def __init__(
        self, app: App, *, key: str | None, max_bytes: int, seconds: float, queue: int, local: bool, counters: Counters
    ) -> None:
        self.app, self.key, self.max_bytes, self.seconds = app, key, max_bytes, seconds
        self.queue, self.local, self.counters = queue, local, counters

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.counters.request(request.url.path, message["status"])
            await asyncio.wait_for(send(message), self.seconds)

        try:
            self._check(request)
        except Problem as problem:
            await _drain(receive)
            return await problem.response()(scope, receive, counted)
        if request.method != "POST":
            return await self.app(scope, receive, counted)
        self.counters.open += 1
        try:
            await self.app(scope, self._body(receive), counted)
        finally:
            self.counters.open -= 1

    def _check(self, request: Request) -> None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if self.local and host.rpartition(":")[0] not in _LOOPBACK and host not in _LOOPBACK:
            raise Problem(403, f"this server answers as localhost alone, got Host: {host}; start it with host=0.0.0.0")
        if origin is not None and origin.partition("://")[2] != host:
            raise Problem(403, f"pages of other sites may not ask this server (Origin: {origin})")
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if self.key is not None and request.url.path not in _OPEN and not hmac.compare_digest(given, self.key.encode()):
            raise Problem(
                401, "wrong or missing key: send Authorization: Bearer <key>, the key= of the server",
                code="invalid_api_key",
            )  # fmt: skip
        if request.method != "POST":
            return
        size = request.headers.get("content-length", "0")
        if size.isdecimal() and int(size[:20]) > self.max_bytes:
            raise self._too_large()
        if self.counters.open >= self.queue:
            raise Problem(429, f"{self.queue} requests are waiting already: try again later", code="queue_full")

    def _body(self, receive: Callable[[], Awaitable[Message]]) -> Callable[[], Awaitable[Message]]:
        got, whole = 0, False
        end = asyncio.get_running_loop().time() + self.seconds

        async def limited() -> Message:
            nonlocal got, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise Problem(408, f"the request was not sent within {self.seconds:g} s", code="too_slow") from None
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > self.max_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> Problem:
        return Problem(413, f"the request is larger than {self.max_bytes:,} bytes, the limit of this server (max_mb=)")


async def _drain(receive: Callable[[], Awaitable[Message]]) -> None:
    """Reads what of a refused body is there already: a connection that is closed before it is read may be reset, and
    the client would not see why."""
    got, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            while more and got < 2**20:
                message = await receive()
                got += len(message.get("body", b""))
                more = message.get("more_body", False)
