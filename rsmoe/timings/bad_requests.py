"""What a server says to bad requests: ``python -m rsmoe.timings.bad_requests starter`` prints the status of each.

The server is a process of its own on loopback, with ``body_seconds=3`` and the other limits as they ship. After each
bad request a good one is asked, which has to be answered; if one is not, the command ends with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from rsmoe.timings.serving import CHAT, address, ask, bodies, server

_QUEUED, _AT_ONCE = 10_000, 400
"""Requests that come while the server is busy, and those of them that are open at a time."""


def bomb(side: int) -> str:
    """A PNG of few bytes and side x side pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return f"data:image/png;base64,{base64.b64encode(content + chunk(b'IEND', b'')).decode()}"


def about(place: str, **more: Any) -> dict[str, Any]:
    """A request about the picture at an address."""
    parts = [{"type": "image_url", "image_url": {"url": place}}, {"type": "text", "text": "How many ships are there?"}]
    return {"messages": [{"role": "user", "content": parts}], "max_tokens": 4, **more}


def raw(url: str, pieces: Iterator[bytes], *, pause: float = 0.0) -> int:
    """Sends pieces until all are sent or the server has had enough; the status."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass  # it has closed the connection
        return int(connection.recv(4096).split(b" ", 2)[1])


def head(*lines: str) -> bytes:
    """Of a request whose body follows."""
    return "\r\n".join((f"POST {CHAT} HTTP/1.1", "Host: localhost", *lines, "", "")).encode()


def endless() -> Iterator[bytes]:
    """4 GB of blanks whose length is not said before."""
    yield head("Transfer-Encoding: chunked")
    for _ in range(2**12):
        yield b"100000\r\n" + b" " * 2**20 + b"\r\n"


def slow() -> Iterator[bytes]:
    """A byte every tenth of a second."""
    yield head("Content-Length: 1000")
    for _ in range(100):
        yield b"{"


async def flood(url: str, body: dict[str, Any]) -> Counter[str]:
    """Thousands of requests at a time; how many got which status."""
    found: Counter[str] = Counter()
    free = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(
        timeout=300, limits=httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=0)
    ) as client:

        async def one() -> None:
            async with free:
                try:
                    found[str((await client.post(url + CHAT, json=body)).status_code)] += 1
                except httpx.HTTPError as error:
                    found[type(error).__name__] += 1

        await asyncio.gather(*(one() for _ in range(_QUEUED)))
    return found


def cases(url: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """What is wrong -> its status."""
    picture = address(np.zeros((64, 64, 3), np.uint8))
    wide = address(np.zeros((1, 1, 3), np.uint8))
    text = {"role": "user", "content": "a" * 20_000}

    def post(**options: Any) -> Callable[[], int]:
        return lambda: httpx.post(url + CHAT, timeout=60, **options).status_code

    yield "no json", post(content=b"{")
    yield "json 50,000 deep", post(content=b"[" * 50_000)
    yield "no messages", post(json={"messages": []})
    yield "a text of 20,000 letters", post(json={"messages": [text]})
    yield "wrong base64", post(json=about("data:image/png;base64,!!!!"))
    yield "not a picture", post(json=about("data:image/png;base64,aGVsbG8="))
    yield "a GDAL file that names other files (VRT)", post(json=about(f"data:;base64,{_VRT}"))
    yield "9 pictures", post(json=_many(picture, 9))
    yield "two dates of different sizes", post(json=_many(picture, 1, wide))
    yield "PNG bomb, 30,000 x 30,000 in 1 kB", post(json=about(bomb(30_000)))
    yield "PNG of 11,000 x 11,000, more than max_pixels", post(json=about(bomb(11_000)))
    yield "a path: file:///etc/passwd", post(json=about("file:///etc/passwd"))
    yield "an address of the web", post(json=about("http://127.0.0.1:1/a.png"))
    yield "temperature=9", post(json=about(picture, temperature=9))
    yield "n=17", post(json=about(picture, n=17, temperature=1))
    yield "max_tokens=0", post(json=about(picture, max_tokens=0))
    yield "tools", post(json=about(picture, tools=[{"type": "function"}]))
    yield "no such model", post(json=about(picture, model="gpt-4"))
    yield "no such path", lambda: httpx.get(url + "/nosuch").status_code
    yield "GET of a POST", lambda: httpx.get(url + CHAT).status_code
    yield "a page of another site (Origin)", post(json=about(picture), headers={"Origin": "https://evil.example"})
    yield "another name of this machine (Host)", post(json=about(picture), headers={"Host": "evil.example"})
    yield "Content-Length: 4 GB", lambda: raw(url, iter([head("Content-Length: 4294967296"), b"{"]))
    yield "4 GB without a length", lambda: raw(url, endless())
    yield "a byte every 0.1 s", lambda: raw(url, slow(), pause=0.1)


_VRT = base64.b64encode(b"<VRTDataset rasterXSize='2' rasterYSize='2'></VRTDataset>").decode()


def _many(place: str, count: int, *more: str) -> dict[str, Any]:
    body = about(place)
    body["messages"][0]["content"] = [
        {"type": "image_url", "image_url": {"url": url}} for url in (*[place] * count, *more)
    ]
    return body


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="starter, a run folder, or a checkpoint")
    given = parser.parse_args()
    table, lost = Table("bad request", "status", "the next one"), 0
    (good,) = bodies(1, side=64)

    def next_one(url: str, key: str | None = None) -> str:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            with httpx.Client(base_url=url, timeout=60, headers=headers) as client:
                return "answered" if ask(client, good)[1] else "lost"
        except httpx.HTTPError as error:
            return f"lost: {type(error).__name__}"

    with server(given.run, body_seconds=3) as (url, _):
        for name, status in cases(url):
            table.add_row(name, str(status()), said := next_one(url))
            lost += said != "answered"
        flooded = asyncio.run(flood(url, about(address(np.zeros((64, 64, 3), np.uint8)))))
        said = ", ".join(f"{count:,} x {status}" for status, count in sorted(flooded.items()))
        table.add_row(f"{sum(flooded.values()):,} requests, {_AT_ONCE} at a time", said, after := next_one(url))
        lost += after != "answered" or not set(flooded) <= {"200", "429"}
    with server(given.run, key="secret") as (url, _):
        for name, headers in (("no key", {}), ("a wrong key", {"Authorization": "Bearer secre"})):
            answer = httpx.post(url + CHAT, json=good, headers=headers)
            table.add_row(name, str(answer.status_code), said := next_one(url, "secret"))
            lost += said != "answered"
    Console(width=110).print(table)
    raise SystemExit(bool(lost))


if __name__ == "__main__":
    main()
