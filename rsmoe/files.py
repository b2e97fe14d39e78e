"""Files that are written whole or not at all, and a look at whether they can be, before the work."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rsmoe.errors import UserError


def require_writable(path: Path | str, key: str, *, folder: bool = True) -> None:
    """Raises a `UserError` if ``path`` cannot be written; a command calls it before it reads or trains anything.

    Nothing is left behind: the nearest folder that exists gets a temporary file for a moment. Permissions alone do not
    tell, for a disk may be read-only or full, and root passes every check of permissions.

    Args:
        path: what will be written.
        key: what the user has to change, as it is typed: "out=", "RSMOE_CACHE"; "" where the caller says it.
        folder: ``path`` is a folder; else a file.
    """
    path = Path(path)
    wanted = path if folder else path.parent
    advice = f". Give another place: {key}" if key else ""
    try:
        if not folder and path.is_dir():
            raise UserError(f"cannot write {path}: it is a folder, expected the name of a file{advice}")
        nearest = next(place for place in (wanted, *wanted.parents) if place.exists() or place.is_symlink())
        if not nearest.is_dir():
            what = "it is a file" if nearest == path else f"{nearest} is not a folder"
            raise UserError(f"cannot write {path}: {what}, expected a folder{advice}")
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())  # some disks tell only now that they are full
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}{advice}") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Atomic write: gives a temporary name beside ``path``, renamed at the end of the ``with``, removed after an error.

    Raises:
        UserError: the folder cannot be made or the file not be written, for example because the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path.parent}: {error.strerror or error}") from error
    part = part_of(path)
    try:
        yield part
        if part.is_file():
            part.chmod(0o666 & ~_umask())  # safetensors writes files that nobody else may read
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_of_file(path: Path) -> str:
    """Of its bytes, in hex digits, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CACHE_KEY = "export RSMOE_CACHE=/path/to/a/folder"
"""What names another cache, for `require_writable`."""


def part_of(path: Path) -> Path:
    """Temporary name of this process beside ``path``; those of killed processes are removed."""
    stem = path.stem[:100]
    with suppress(OSError):
        for old in path.parent.glob(f".{glob.escape(stem)}.*.part{glob.escape(path.suffix)}"):
            if _abandoned(old, old.name.removesuffix(f".part{path.suffix}").rpartition(".")[2]):
                shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
    return path.with_name(f".{stem}.{_host()}-{os.getpid()}.part{path.suffix}")


def _abandoned(part: Path, writer: str) -> bool:
    """Whether nobody writes it any more: its process is gone, or, of another machine, it has not changed for a day."""
    host, _, process = writer.rpartition("-")
    if host == _host() and process.isdigit():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass
        return False
    changed = max(file.stat().st_mtime for file in (part, *part.rglob("*")))
    return time.time() - changed > 86_400


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", platform.node())[:40] or "host"


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8 whole or not at all; `UserError` as `whole_file`."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def cache_folder(given: str | Path | None = None) -> Path:
    """The cache folder: ``given``, else ``$RSMOE_CACHE``, else ``~/.cache/rsmoe``.

    Raises:
        UserError: there is no home; the message names RSMOE_CACHE.
    """
    try:
        return Path(given or os.environ.get("RSMOE_CACHE") or Path.home() / ".cache" / "rsmoe")
    except RuntimeError as error:
        raise UserError(
            "there is no home folder for the cache of generated scenes: name one, export RSMOE_CACHE=/path/to/a/folder"
        ) from error
