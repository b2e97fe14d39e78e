"""Checkpoints that are whole or absent, and hold no copy of pretrained weights that nobody trained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from rsmoe.build import whole_state
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.weights.bases import LeftOut


class WholeFileIO(TorchCheckpointIO):
    """Writes beside the final name, then renames: a full disk or a kill leaves the checkpoint before untouched.

    Lightning's own writer keeps a second copy in memory, and moves it from the folder of temporary files, which copies
    where that is another disk. Lightning itself sees whole checkpoints: what a file leaves out comes from the model.

    Args:
        model: that is trained.
        bases: what its checkpoints leave out, see `rsmoe.training.left_out.left_out`.
        loaded: path and content of a checkpoint that was read before.
    """

    def __init__(
        self, *, model: RSMoE, bases: Sequence[LeftOut] = (), loaded: tuple[Path, dict[str, Any]] | None = None
    ) -> None:
        super().__init__()
        self._model, self._bases, self._loaded = model, bases, loaded

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Saves ``checkpoint`` as ``path``.

        Raises:
            UserError: it cannot be written, for example because the disk is full.
        """
        path = Path(path)
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(self._slim(checkpoint), part)
            os.replace(part, path)
        except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
            raise UserError(
                f"cannot write the checkpoint {path}: {str(error).splitlines()[0]}. Is the disk full? Make room, then "
                f"continue from the last one that is whole: resume={path.parent.parent}"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def load_checkpoint(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The checkpoint, with the weights that it leaves out."""
        known, self._loaded = self._loaded, None
        if known is not None and known[0] == Path(path):
            checkpoint = known[1]
        else:
            checkpoint = super().load_checkpoint(Path(path), *args, **kwargs)
        whole = whole_state(checkpoint, self._model, self._model.state_dict())
        others = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith("model.")}
        return {**checkpoint, "state_dict": others | {f"model.{name}": value for name, value in whole.items()}}

    def _slim(self, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        if not self._bases:
            return dict(checkpoint)
        state = dict(checkpoint["state_dict"])
        for base in self._bases:
            for name, (rows, _) in base.tensors.items():
                value = state.pop(f"model.{name}")
                if value.ndim and len(value) > rows:  # of a table that has grown, the new rows
                    state[f"model.{name}"] = value[rows:].clone()
        return {**checkpoint, "state_dict": state, "bases": [base.state() for base in self._bases]}


def copy_checkpoint(source: Path, target: Path) -> None:
    """The same file under another name, whole or absent; a second name where the disk allows one.

    Raises:
        UserError: it cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)  # neither is ever written to again: a new checkpoint is a new file
        except OSError:
            shutil.copyfile(source, part)
        os.replace(part, target)
    except OSError as error:
        raise UserError(f"cannot copy the checkpoint {source} to {target}: {error}. Is the disk full?") from error
    finally:
        part.unlink(missing_ok=True)
