"""Ranges of bytes of local files, web servers and object stores (through fsspec)."""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache
from textwrap import shorten
from typing import BinaryIO

from rsmoe.data.files.http_ranges import read_url
from rsmoe.errors import UserError

_HTTP = ("http", "https")
STORES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
"""Object stores that fsspec reads, and the package that it needs for each."""


@lru_cache(maxsize=1024)  # asked of every sample
def is_url(location: str) -> bool:
    """Whether a location is an address of a web server or an object store; else it is a local path.

    Raises:
        UserError: for any other scheme. "pipe:" above all, which webdataset runs as a shell command, and fsspec's
            chains ("simplecache::s3://..."), which write on this machine.
    """
    if _scheme(location) in (*_HTTP, *STORES):
        return True
    if re.match(r"[a-z][a-z0-9+.-]+:", location, re.IGNORECASE) and not os.path.exists(location):
        schemes = ", ".join(f"{scheme}://" for scheme in (*_HTTP, *STORES))
        raise UserError(f"{location!r} is not read: expected a local path, or an address with {schemes}")
    return False


def read_range(location: str, start: int, size: int, *, whole: bool = False) -> bytes:
    """``size`` bytes from ``start`` on, or as many as there are.

    A local file stays open for the next read. A lost connection is taken up where it broke; a server that does not
    know ranges is read from its first byte.

    Args:
        location: a path, or an address.
        start, size: in bytes.
        whole: the range is known to be there, so that a web server which gives less of it is tried again.

    Raises:
        UserError: naming a file or an address that cannot be read, after the tries of
            `rsmoe.data.files.http_ranges.WAITS_S`; a store whose package is not installed.
    """
    if size <= 0:
        return b""
    if is_url(location):
        if _scheme(location) in _HTTP:
            return read_url(location, start, size, whole=whole)
        return _read_store(location, start, size)
    try:
        status = os.stat(location)
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise UserError(f"{location} is no file. Put the file back")
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


def _scheme(location: str) -> str:
    scheme, mark, rest = location.partition("://")
    return scheme.lower() if mark and "::" not in rest else ""


def _read_store(location: str, start: int, size: int) -> bytes:
    import fsspec  # here: it is of no use to local files

    scheme = _scheme(location)
    try:
        with fsspec.open(location, "rb", cache_type="none") as file:
            file.seek(start)
            return bytes(file.read(size))
    except ImportError as error:
        raise UserError(
            f"{location}: addresses of {scheme}:// need {STORES[scheme]}: pip install {STORES[scheme]}"
        ) from error
    except Exception as error:  # each store has its own
        raise UserError(
            f"{location} cannot be read: {shorten(str(error) or type(error).__name__, 200)}. Check the address and the "
            "credentials"
        ) from error
