"""Checkpoints that are whole or absent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from rsmoe.errors import UserError


class WholeFileIO(TorchCheckpointIO):
    """Writes beside the final name, then renames: a full disk or a kill leaves the checkpoint before untouched.

    Lightning's own writer keeps a second copy in memory, and moves it from the folder of temporary files, which copies
    where that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None) -> None:
        """Saves ``checkpoint`` as ``path``.

        Raises:
            UserError: it cannot be written, for example because the disk is full.
        """
        path = Path(path)
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, part)
            os.replace(part, path)
        except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
            raise UserError(
                f"cannot write the checkpoint {path}: {str(error).splitlines()[0]}. Is the disk full? Make room, then "
                f"continue from the last one that is whole: resume={path.parent.parent}"
            ) from error
        finally:
            part.unlink(missing_ok=True)


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
