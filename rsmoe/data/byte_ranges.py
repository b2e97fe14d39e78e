"""Ranges of bytes, of local files and of http(s) addresses."""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from http.client import HTTPException
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from rsmoe.errors import UserError

WAITS_S = (0.5, 2.0, 8.0)
"""Pauses before an address is tried again, where the fault may pass: a lost connection, an overloaded server."""

_PASSING = (408, 425, 429, 500, 502, 503, 504)
_TIMEOUT_S = 30.0
_BLOCK = 2**20


@lru_cache(maxsize=1024)  # asked of every sample
def is_url(location: str) -> bool:
    """Whether a location is an http(s) address; else it is a local path.

    Raises:
        UserError: for any other scheme. "pipe:" above all, which webdataset runs as a shell command.
    """
    if re.match(r"https?://", location, re.IGNORECASE):
        return True
    if re.match(r"[a-z][a-z0-9+.-]+:", location, re.IGNORECASE) and not os.path.exists(location):
        raise UserError(f"{location!r} is not read: expected a local path, or an address with http:// or https://")
    return False


def read_range(location: str, start: int, size: int) -> bytes:
    """``size`` bytes from ``start`` on, or as many as there are.

    A local file stays open for the next read. A lost connection is taken up where it broke; a server that does not
    know ranges is read from its first byte.

    Raises:
        UserError: naming a file or an address that cannot be read, after the tries of `WAITS_S`.
    """
    if size <= 0:
        return b""
    if is_url(location):
        return _read_url(location, start, size)
    try:
        status = os.stat(location)
        file = _opened(location, status.st_ino, status.st_mtime_ns)
        parts = []
        while size > 0 and (part := os.pread(file.fileno(), size, start)):  # one read gives at most 2 GB
            parts.append(part)
            start, size = start + len(part), size - len(part)
    except OSError as error:
        raise UserError(f"{location} cannot be read ({error.strerror}). Put the file back") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


@lru_cache(maxsize=64)
def _opened(path: str, _inode: int, _changed: int) -> BinaryIO:
    """Kept by what the path led to: a file that is replaced is opened anew. The ones that fall out close themselves."""
    return open(path, "rb", buffering=0)


def _read_url(location: str, start: int, size: int) -> bytes:
    got = bytearray()
    fault: Exception | None = None
    for wait in (0.0, *WAITS_S):
        time.sleep(wait)
        try:
            _read_on(location, start, size, got)
            return bytes(got)
        except HTTPError as error:
            if error.code == 416:  # nothing there: the file ends before
                return bytes(got)
            fault = error
            if error.code not in _PASSING:
                break
        except (URLError, OSError, HTTPException) as error:
            fault = error
    raise UserError(f"{location} cannot be read: {fault}. Check the address and the connection, then continue")


def _read_on(location: str, start: int, size: int, got: bytearray) -> None:
    """Appends to ``got`` what is missing of the range."""
    first = start + len(got)
    request = Request(location, headers={"Range": f"bytes={first}-{start + size - 1}"})
    with urlopen(request, timeout=_TIMEOUT_S) as response:
        if urlsplit(response.url).scheme not in ("http", "https"):
            raise UserError(f"{location} leads to {response.url}, which is not read")
        if response.status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != first:
                raise OSError(f"asked for bytes from {first}, got {response.headers.get('Content-Range')}")
            total = int(found[2])
        else:
            total = int(response.headers.get("Content-Length") or start + size)
            skip = first
            while skip > 0 and (block := response.read(min(skip, _BLOCK))):
                skip -= len(block)
        wanted = min(size, max(total - start, 0))
        while len(got) < wanted and (block := response.read(min(wanted - len(got), _BLOCK))):
            got += block
    if len(got) < wanted:
        raise ConnectionError(f"the connection ended after {len(got)} of {wanted} bytes")
