"""Features of a frozen encoder on disk: computed once, read by any number of processes and runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rsmoe.data.files.byte_ranges import is_url
from rsmoe.data.sample import Lazy
from rsmoe.data.shards.member import ShardMember
from rsmoe.errors import UserError
from rsmoe.files import whole_file

Picture = Path | np.ndarray | Lazy


class FeatureStore:
    """Picture and symmetry -> feature maps (D_l, h_l, w_l), memory-mapped.

    A folder of safetensors files, each with the features of some pictures; a file appears whole or not at all, and is
    never changed, so that processes and runs may read and write the same folder at once. A file that is damaged is as
    if it were not there.

    A picture is known by its path, size and time of change, an array by its pixels: one that has changed has no
    features here. What the features depend on besides is the caller's to put into the folder's name.

    Args:
        folder: of one encoder and one way to make its pixels.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, tuple[str, int]] = {}  # key -> file, row
        self._files: set[str] = set()
        self._open: dict[str, tuple[Tensor, ...]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Looks for files that were added meanwhile, by this process or another."""
        for path in sorted(self.folder.glob("[0-9a-f]*.safetensors")):
            if path.name not in self._files:
                try:
                    with safe_open(path, framework="pt") as file:
                        keys = json.loads(file.metadata()["keys"])
                except (SafetensorError, OSError, ValueError, KeyError, TypeError):
                    continue
                self._files.add(path.name)
                self._rows |= {key: (path.name, row) for row, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __call__(self, picture: Picture, symmetry: int) -> tuple[Tensor, ...]:
        """Maps (D_l, h_l, w_l) of one picture, turned by one of `rsmoe.data.transforms.symmetries`; not to be changed.

        Raises:
            UserError: there are none; the picture has changed since they were computed.
        """
        key = feature_key(picture, symmetry)
        if key not in self._rows:
            raise UserError(
                f"{picture if isinstance(picture, Path) else 'a picture'}: its features are not in {self.folder}; it "
                "has changed since training began. Start again, or continue with resume="
            )
        name, row = self._rows[key]
        if name not in self._open:
            with safe_open(self.folder / name, framework="pt") as file:
                self._open[name] = tuple(file.get_tensor(str(level)) for level in range(len(file.keys())))
        return tuple(level[row] for level in self._open[name])

    def add(self, keys: Sequence[str], features: Sequence[Tensor]) -> None:
        """Writes one file.

        Args:
            features: levels (n, D_l, h_l, w_l), in the type in which they are kept.

        Raises:
            UserError: the folder cannot be written, the disk is full.
        """
        path = self.folder / f"{hashlib.sha256(json.dumps(list(keys)).encode()).hexdigest()[:32]}.safetensors"
        tensors = {str(level): value.contiguous() for level, value in enumerate(features)}
        with whole_file(path) as part:
            try:
                save_file(tensors, part, metadata={"keys": json.dumps(list(keys))})
            except SafetensorError as error:
                raise UserError(f"cannot write {path}: {error}. Give another place: features.folder=") from error
        self.refresh()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}


def feature_key(picture: Picture, symmetry: int) -> str:
    """Of a picture as it is now, turned; the same in every process."""
    known = hashlib.sha256()
    if isinstance(picture, np.ndarray):
        known.update(f"{picture.shape} {picture.dtype}".encode() + np.ascontiguousarray(picture).tobytes())
    else:
        known.update((str(picture.absolute()) if isinstance(picture, Path) else picture.key).encode())
        for path in _files_of(picture):
            try:
                stat = path.stat()
            except OSError as error:
                raise UserError(f"no image file {path}") from error
            known.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return f"{known.hexdigest()[:32]}.{symmetry}"


def stacked(views: Sequence[Sequence[tuple[Tensor, ...]]], *, times: int) -> tuple[Tensor, ...]:
    """Features of the dates of each view -> levels (I, ``times``, D_l, h_l, w_l), zero where a view has fewer dates."""
    levels = []
    for level, first in enumerate(views[0][0]):
        joined = torch.zeros(len(views), times, *first.shape, dtype=first.dtype)
        for place, dates in enumerate(views):
            for time, maps in enumerate(dates):
                joined[place, time] = maps[level]
        levels.append(joined)
    return tuple(levels)


def _files_of(source: Any) -> Iterator[Path]:
    """The files that a picture is read from: itself, its shard on this machine, or paths among the fields of a `Lazy`
    one."""
    if isinstance(source, Path):
        yield source
    elif isinstance(source, ShardMember):
        if not is_url(source.shard):
            yield Path(source.shard)
    elif isinstance(source, tuple | list):
        for inner in source:
            yield from _files_of(inner)
    elif dataclasses.is_dataclass(source):
        for field in dataclasses.fields(source):
            yield from _files_of(getattr(source, field.name))
