"""Where the fields of every sample lie in a webdataset tar file."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rsmoe.data.files.file_names import slashes
from rsmoe.data.files.links import require_inside
from rsmoe.data.files.text_files import require_file
from rsmoe.errors import UserError
from rsmoe.files import whole_file


def tars_in(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern below a folder, by name; hidden ones are left out."""
    found = (path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
    return sorted(map(require_inside, found))


def index_tars(
    paths: Sequence[Path], fields: Sequence[str], *, cache: Path | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) number of the file, (n,) place in it and (n, fields, 2) `index_tar`, of the samples of several files."""
    tables = [index_tar(path, fields, cache=cache) for path in paths]
    file = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    return file, np.concatenate([np.arange(len(table)) for table in tables]), np.concatenate(tables)


def index_tar(path: Path, fields: Sequence[str], *, cache: Path | None = None) -> np.ndarray:
    """(n, fields, 2) int64: offset and size in bytes of each field of the n samples, in the order of the file.

    A sample is what shares its name up to the first dot (``000012.caption``, ``000012.img_content``), one member after
    the other; further fields of it are passed over. Names with dots in them are samples too, where they have all fields
    (``tile.1.2.jpg`` and ``tile.1.2.txt``); suffixes may be in any case, separators "/" or "\\". Only headers are read,
    and nothing is ever unpacked, so that the names lead nowhere.

    Args:
        path: the tar file, not compressed: compressed ones have no offsets.
        fields: what every sample has to have.
        cache: folder that keeps the index, for the next process to find: reading 100,000 headers takes seconds. A tar
            file that changed in size or time is indexed again.

    Raises:
        UserError: naming the file that is no tar, is cut off, or holds a sample without one of ``fields`` or with one
            of them twice.
    """
    status = path.stat()
    kept = None
    if cache is not None:
        signature = f"2-{path.parent.name}-{path.stem}-{status.st_size}-{status.st_mtime_ns}-{'-'.join(fields)}"
        kept = cache / f"{signature}.npy"
        if kept.is_file():
            return np.load(kept, allow_pickle=False)
    index = _scan(path, list(fields))
    if kept is not None:
        with whole_file(kept) as part:
            np.save(part, index, allow_pickle=False)
    return index


def _scan(path: Path, fields: list[str]) -> np.ndarray:
    rows: list[list[tuple[int, int]]] = []
    key, found = "", dict[str, tuple[int, int]]()
    dotted: dict[str, dict[str, tuple[int, int]]] = {}  # names with dots before the field: samples if they are whole
    in_any_case = {field.lower(): field for field in fields}

    def close() -> None:
        if not found:
            return
        if len(found) < len(fields):
            missing = ", ".join(field for field in fields if field not in found)
            raise UserError(f"{path}: sample {key!r} has no {missing}. Expected {', '.join(fields)} in every sample")
        rows.append([found[field] for field in fields])
        found.clear()

    for whole, offset, size in tar_members(path):
        folder, _, name = whole.rpartition("/")
        stem, _, ending = name.partition(".")
        field = in_any_case.get(ending.lower(), "")
        if not field:
            field = next((f for low, f in in_any_case.items() if name.lower().endswith(f".{low}")), "")
            if field:
                here = dotted.setdefault(f"{folder}/{name[: -len(field) - 1]}", {})
                here.setdefault(field, (offset, size))
            continue
        if f"{folder}/{stem}" != key:
            close()
            key = f"{folder}/{stem}"
        if field in found:
            raise UserError(f"{path}: sample {key!r} has {field} twice")
        found[field] = (offset, size)
    close()
    rows += [[here[field] for field in fields] for here in dotted.values() if len(here) == len(fields)]
    rows.sort(key=min)
    return np.asarray(rows, dtype=np.int64).reshape(-1, len(fields), 2)


def tar_members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name with "/", offset and size in bytes of every file in a tar file that is not compressed; hidden ones, which
    macOS writes ("._a.jpg"), are left out.

    Raises:
        UserError: naming the file that is no tar, or is cut off.
    """
    total = require_file(path).stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header that it has read
                name = slashes(member.name)
                if member.offset_data + member.size > total:
                    raise UserError(f"{path} is cut off within {member.name}. Download the shard again")
                if member.isreg() and not name.rpartition("/")[2].startswith("."):
                    yield name, member.offset_data, member.size
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path} is not a tar file, or is damaged ({error}). Download the shard again") from error
    with path.open("rb") as file:  # `tarfile` takes a damaged header for the end
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise UserError(f"{path} is cut off or damaged at byte {end}. Download the shard again")
