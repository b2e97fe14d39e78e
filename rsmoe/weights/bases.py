"""Pretrained weights that a run leaves as they are: a checkpoint names them and their hash, and holds no copy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rsmoe.errors import UserError
from rsmoe.weights.pretrained import commit_of, source

_KEYS = {"vision": "vision.pretrained", "bank": "lm.pretrained", "prompts": "prompts.lm.pretrained"}
"""Part of the model -> the key that says where its weights are; the Q-Former has two of them."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """Pretrained checkpoint that a module was loaded from, with a hash of every tensor as it was loaded.

    A module that has one carries it as ``loaded_base``. Hashes are of tensors, not of files: the same weights in other
    shards, or as the vision half of a larger model, have the same ones.
    """

    name: str
    """Name on the hub, or absolute folder."""
    revision: str | None
    """Commit on the hub, where it came from there."""
    tensors: Mapping[str, tuple[int, str]]
    """Tensor of the module -> its rows, and their sha256. A table that grew for new tokens has more rows by now."""
    bytes: int
    """Of these tensors."""

    @classmethod
    def of(cls, name: str, tensors: Mapping[str, Tensor], *, revision: str | None = None) -> Base:
        """The base that these tensors are, by their names in the module that takes them."""
        sizes = {(t.data_ptr(), t.shape): t.nbytes for t in tensors.values()}  # tied ones are counted once
        rows = {key: _rows(tensor) for key, tensor in tensors.items()}
        hashed = zip(rows, _digests(tensors.values()), strict=True)
        return cls(
            name=name,
            revision=revision,
            tensors={key: (rows[key], digest) for key, digest in hashed},
            bytes=sum(sizes.values()),
        )

    @property
    def sha256(self) -> str:
        """Of all tensors: names, types, shapes and numbers."""
        return hashlib.sha256(json.dumps(sorted(self.tensors.items())).encode()).hexdigest()

    def untouched(self, state: Mapping[str, Tensor]) -> list[str]:
        """Names of a module's state dict whose numbers still are those that were loaded; rows behind may be new."""
        known = {name: key for name in state if (key := plain(name)) in self.tensors}
        first = [_head(state[name], self.tensors[key][0]) for name, key in known.items()]
        now = zip(known.items(), _digests(first), strict=True)
        return [name for (name, key), digest in now if digest == self.tensors[key][1]]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One base of a checkpoint, and the tensors that are not in the file because they are the base's own."""

    part: str
    """Path of the module in the model."""
    name: str
    revision: str | None
    sha256: str
    bytes: int
    tensors: Mapping[str, tuple[int, str]]
    """Tensor of the model -> rows that are the base's (rows behind them are in the file), and its dtype in training."""

    @property
    def key(self) -> str:
        """What the user typed to choose it."""
        return _KEYS.get(self.part.split(".")[0], "qformer.bert or qformer.instructblip")

    @property
    def source(self) -> str:
        """What `rsmoe.weights.pretrained.source` takes."""
        return f"{self.name}@{self.revision}" if self.revision else self.name

    def state(self) -> dict[str, Any]:
        """Plain containers, for a checkpoint."""
        return {**vars(self), "tensors": {name: list(value) for name, value in self.tensors.items()}}

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any]) -> list[LeftOut]:
        """The bases that a checkpoint names; none in one that holds all of its weights.

        Raises:
            UserError: what the file says of them is not what `rsmoe.train` writes.
        """
        try:
            found = []
            for given in checkpoint.get("bases", ()):
                tensors = {str(name): (int(rows), str(dtype)) for name, (rows, dtype) in given["tensors"].items()}
                found.append(cls(**{**given, "tensors": tensors}))
                texts = (given["part"], given["name"], given["sha256"], given["revision"] or "")
                if not all(isinstance(text, str) for text in texts):
                    raise TypeError(f"part, name, sha256 and revision are texts, got {texts}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"the checkpoint does not say what its pretrained weights are: {error}") from error
        return found

    def check(self, model: nn.Module) -> None:
        """Refuses a model whose part was loaded from other weights, or from none."""
        part = dict(model.named_modules()).get(self.part)
        base = getattr(part, "loaded_base", None)
        if base is None:
            raise UserError(
                f"the checkpoint holds no copy of the frozen weights of {self.part}, which are those of {self.name}; "
                f"give the same {self.key} as the run had"
            )
        if base.sha256 != self.sha256:
            raise UserError(
                f"{base.name} holds other weights than those that the run was trained with: sha256 {base.sha256} "
                f"there, {self.sha256} in the checkpoint ({self.name}, {megabytes(self.bytes)}). Give the old ones "
                f"back, or say where they are: export RSMOE_MOVED={self.name}=/their/folder"
            )


def remember(module: Any, name: str, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Notes on a module that it was just loaded from ``name``; ``tensors`` of it, by default all of its own."""
    given = module.state_dict() if tensors is None else tensors
    module.loaded_base = Base.of(source(name)[0], given, revision=commit_of(name))


def bases_of(model: nn.Module) -> dict[str, tuple[nn.Module, Base]]:
    """Path of each module that was loaded from a pretrained checkpoint -> the module, and the checkpoint."""
    found = {path: (m, getattr(m, "loaded_base", None)) for path, m in model.named_modules()}
    return {path: (m, base) for path, (m, base) in found.items() if isinstance(base, Base)}


def plain(name: str) -> str:
    """Name of a tensor of a language model before adapters were put around its layers."""
    return name.replace(".base_layer.", ".")


def megabytes(size: int) -> str:
    """A size in bytes, for reading."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"


def _rows(tensor: Tensor) -> int:
    return len(tensor) if tensor.ndim else 1


def _head(tensor: Tensor, rows: int) -> Tensor:
    return tensor[:rows] if tensor.ndim else tensor


def _digests(tensors: Iterable[Tensor]) -> list[str]:
    """A sha256 of each: hashlib lets the interpreter go, so that cores share the work."""
    given = list(tensors)
    alike = {_place(t): t for t in given}  # tied tensors are hashed once
    with ThreadPoolExecutor() as pool:
        done = dict(zip(alike, pool.map(_digest, alike.values()), strict=True))
    return [done[_place(t)] for t in given]


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _digest(tensor: Tensor) -> str:
    known = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    known.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return known.hexdigest()
