"""Tensors of a TorchScript archive, read as data: none of its code is compiled or run."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rsmoe.errors import UserError

_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of TorchScript: a zip with code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters, buffers and other tensors of the module, by their dotted names.

    Its pickle may name tensors, their storages, plain containers and modules, which become bags of their attributes;
    anything else is refused.

    Raises:
        UserError: it is damaged, or names something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            home = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
            root = _Reader(io.BytesIO(archive.read(f"{home}data.pkl")), lambda key: archive.read(f"{home}data/{key}"))
            return dict(_tensors(root.load(), ""))
    except UserError:
        raise
    except Exception as error:  # a broken pickle ends in whatever it meets first
        raise UserError(f"{path} is not a readable TorchScript archive ({type(error).__name__}: {error})") from error


class _Bag:
    """A module: what its attributes are."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, storage: Callable[[str], bytes]) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return _Bag
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return name
        if module == "torch.jit._pickle" and name in _LISTS:
            return list
        raise UserError(f"this TorchScript archive names {module}.{name}, which is no tensor: it is not read")

    def persistent_load(self, pid: Any) -> Any:
        _, kind, key, _, _ = pid
        return torch.frombuffer(bytearray(self._storage(str(key))), dtype=_STORAGES[kind])


def _rebuilt(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, _Bag):
        for key, inner in vars(value).items():
            yield from _tensors(inner, f"{name}.{key}" if name else key)
