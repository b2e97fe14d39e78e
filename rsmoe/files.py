"""Files that are written whole or not at all, and a look at whether they can be, before the work."""

from __future__ import annotations

import os
import tempfile
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
        key: what the user has to change, as it is typed: "out=", "RSMOE_CACHE".
        folder: ``path`` is a folder; else a file.
    """
    path = Path(path)
    wanted = path if folder else path.parent
    try:
        if not folder and path.is_dir():
            raise UserError(f"cannot write {path}: it is a folder, and {key} names a file")
        nearest = next(place for place in (wanted, *wanted.parents) if place.exists() or place.is_symlink())
        if not nearest.is_dir():
            raise UserError(f"cannot write {path}: {nearest} is not a folder. Give another one with {key}")
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())  # some disks tell only now that they are full
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}. Give another place with {key}") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The name to write instead of ``path``, beside it; a ``with`` that ends well renames it, any other removes it.

    Raises:
        UserError: the folder cannot be made or the file not be written, for example because the disk is full.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path.parent}: {error.strerror or error}") from error
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8 whole or not at all; `UserError` as `whole_file`."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def cache_folder(given: str | Path | None = None) -> Path:
    """The folder of what is generated once and kept: ``given``, else ``$RSMOE_CACHE``, else ``~/.cache/rsmoe``.

    Raises:
        UserError: it cannot be made or written, or there is no home; the message names RSMOE_CACHE.
    """
    try:
        folder = Path(given or os.environ.get("RSMOE_CACHE") or Path.home() / ".cache" / "rsmoe")
    except RuntimeError as error:
        raise UserError(
            "there is no home folder for the cache of generated scenes: name one, export RSMOE_CACHE=/path/to/a/folder"
        ) from error
    require_writable(folder, "export RSMOE_CACHE=/path/to/a/folder")
    return folder
