"""Ranges of bytes of http(s) addresses: tried again where a fault may pass, and never waited for without end.

Not fsspec's HTTP file system: of a server without ranges its ``cat_file`` gives the whole file as if it were the range,
a broken connection is neither tried again nor taken up where it broke, and ``Content-Range`` is not checked. Object
stores are read through fsspec, see `rsmoe.data.files.byte_ranges`.
"""

from __future__ import annotations

import re
import socket
import threading
import time
import warnings
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from textwrap import shorten
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, Request, build_opener

from rsmoe.errors import UserError

WAITS_S = (0.1, 0.5, 2.0, 8.0)
"""Pauses before an address is tried again, where the fault may pass: a lost connection, an overloaded server."""

PATIENCE_S = 20.0
"""A connection that gives less than `SLOWEST` bytes a second for so long is closed; the second one ends the read."""

SLOWEST = 1000.0
"""Bytes a second below which a connection counts as stalled."""

_PASSING = (408, 425, 429, 500, 502, 503, 504)
_BLOCK = 2**16


def read_url(location: str, start: int, size: int, *, whole: bool) -> bytes:
    """``size`` bytes of an address from ``start`` on, see `rsmoe.data.files.byte_ranges.read_range`.

    Raises:
        UserError: it cannot be read, after the tries of `WAITS_S`; it stalls, or leads to something else than http(s).
    """
    got = bytearray()
    fault: Exception | None = None
    stalled = short = 0
    for wait in (0.0, *WAITS_S):
        time.sleep(wait)
        try:
            _read_on(location, start, size, got)
            if short or not whole or len(got) == size:
                return bytes(got)
            short, fault = 1, ConnectionError(f"{len(got)} of {size} bytes")  # the file ends, or an answer was cut off
        except HTTPError as error:
            if error.code == 416:  # nothing there: the file ends before
                return bytes(got)
            fault = error
            if error.code not in _PASSING:
                break
            _warn_once(urlsplit(location).netloc, _line(fault))
        except (URLError, OSError, HTTPException) as error:
            fault = error
            stalled += isinstance(error, TimeoutError)
            if stalled > 1:
                break
            _warn_once(urlsplit(location).netloc, _line(fault))
    raise UserError(f"{location} cannot be read: {_line(fault)}. Check the address and the connection, then continue")


def _line(fault: object) -> str:
    """Whatever a server said instead of a status, on one line."""
    return shorten(str(fault), 200)


@lru_cache(maxsize=64)
def _warn_once(host: str, fault: str) -> None:
    warnings.warn(f"{host}: {fault}; trying again, with pauses of up to {WAITS_S[-1]:g} s", stacklevel=4)


def _read_on(location: str, start: int, size: int, got: bytearray) -> None:
    """Appends to ``got`` what is missing of the range."""
    first = start + len(got)
    request = Request(location, headers={"Range": f"bytes={first}-{start + size - 1}"})
    opener = build_opener(_HTTP(watch := _Watch()), _HTTPS(watch))
    with watch, opener.open(request, timeout=PATIENCE_S) as response:
        if urlsplit(response.url).scheme not in ("http", "https"):
            raise UserError(f"{location} leads to {response.url}, which is not read")
        if response.status == 206:
            found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18})", response.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != first:
                raise OSError(f"asked for bytes from {first}, got {response.headers.get('Content-Range')}")
            total = int(found[2])
        else:
            length = response.headers.get("Content-Length") or str(start + size)
            if not re.fullmatch(r"[0-9]{1,18}", length):
                raise OSError(f"its Content-Length is {length[:40]!r}")
            total = int(length)
            skip = first
            while skip > 0 and (block := response.read1(min(skip, _BLOCK))):
                skip -= len(block)
                watch.count += len(block)
        wanted = min(size, max(total - start, 0))
        while len(got) < wanted and (block := response.read1(min(wanted - len(got), _BLOCK))):
            got += block
            watch.count += len(block)
        if len(got) < wanted:
            raise ConnectionError(f"the connection ended after {len(got)} of {wanted} bytes")


class _Watch:
    """Shuts the socket of a request that stalls: the timeout of a socket starts anew with every byte."""

    def __init__(self) -> None:
        self.count = 0
        self.stalled = False
        self.socket: socket.socket | None = None
        self._over = threading.Event()

    def __enter__(self) -> _Watch:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._over.set()
        if self.stalled and isinstance(error, OSError | HTTPException):
            raise TimeoutError(f"it gave less than {SLOWEST:g} bytes a second for {PATIENCE_S:g} s") from error

    def _run(self) -> None:
        before = 0
        while not self._over.wait(PATIENCE_S):
            if self.count - before < SLOWEST * PATIENCE_S:
                self.stalled = True
                if self.socket is not None:
                    with suppress(OSError):  # closed meanwhile
                        self.socket.shutdown(socket.SHUT_RDWR)
                return
            before = self.count


class _HTTP(HTTPHandler):
    """urllib's handler, whose connection tells the watch its socket."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: Request) -> Any:
        return self.do_open(_telling(HTTPConnection, self._watch), req)


class _HTTPS(HTTPSHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def https_open(self, req: Request) -> Any:
        return self.do_open(_telling(HTTPSConnection, self._watch), req)


def _telling(kind: type[HTTPConnection], watch: _Watch) -> Any:
    def make(host: str, **options: Any) -> HTTPConnection:
        connection = kind(host, **options)
        connect = connection.connect

        def tell() -> None:
            connect()
            watch.socket = connection.sock

        connection.connect = tell  # type: ignore[method-assign]
        return connection

    return make
