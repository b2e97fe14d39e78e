"""Which checkpoint of a run is the newest, and what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rsmoe.errors import UserError
from rsmoe.weights.saved_model import WEIGHTS, is_saved_model, read_model
from rsmoe.weights.starter import is_starter, starter_folder


def find_checkpoint(path: Path) -> Path:
    """A checkpoint file itself, the one of a run folder that is furthest in training, by stage and step, the weights of
    a folder of `rsmoe.weights.saved_model`, or those of "starter".

    Both are read out of the files; their times are those of whatever copied or unpacked the folder.

    Raises:
        UserError: there is none, or one of the folder cannot be read and might be the one.
    """
    if is_starter(path):
        path = starter_folder()
    if path.is_file():
        return path
    if is_saved_model(path):
        return path / WEIGHTS
    if not path.is_dir():
        raise UserError(f"no checkpoint at {path}; give a run folder (runs/<experiment>/<time>) or a .ckpt file")
    folder = path / "checkpoints"
    files = sorted(p for p in folder.glob("*.ckpt") if not p.name.startswith("."))
    if not files:
        raise UserError(f"no checkpoint in {folder}; expected a run folder of rsmoe.train")
    if len(files) == 1:
        return files[0]
    reached: dict[Path, tuple[int, int, bool]] = {}
    broken: dict[Path, UserError] = {}
    for file in files:
        try:
            reached[file] = _reached(file)
        except UserError as error:
            broken[file] = error
    best = max(reached, key=reached.__getitem__, default=None)
    if best is not None:  # a file of an earlier stage, by its name, is not missed
        broken = {file: e for file, e in broken.items() if _named_stage(file) >= reached[best][0]}
    if broken:
        first = next(iter(broken.values()))
        other = f" To go without it, give the furthest of the others: {best}" if best else ""
        raise UserError(f"{first}. It may be the newest of {path}, so that no other is taken in its place.{other}")
    assert best is not None
    return best


def load_checkpoint(path: Path, *, weights: bool = True) -> dict[str, Any]:
    """The content of `find_checkpoint`; never runs code that a file carries.

    Args:
        weights: False leaves its tensors on the disk until they are read.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = find_checkpoint(path)
    if path.name == WEIGHTS and is_saved_model(path.parent):
        return read_model(path.parent, weights=weights)
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=not weights)
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise UserError(f"{path} is not a readable checkpoint ({type(error).__name__}: {reason[0]})") from error
    return loaded


def _named_stage(file: Path) -> float:
    """Stage that ended with a file, by its name ``<n>-<stage>.ckpt``, from 0; infinity where the name does not say."""
    number = file.name.partition("-")[0]
    return int(number) - 1 if number.isdecimal() else float("inf")


def _reached(file: Path) -> tuple[int, int, bool]:
    """(stage, step within it, whether the file is that of a stage's end) of a checkpoint."""
    saved = load_checkpoint(file, weights=False)
    try:
        stage, step = int(saved["hyper_parameters"]["stage"]), int(saved["global_step"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} does not say of which stage and step it is: it was not written by rsmoe.train"
        ) from error
    return stage, step, file.name != "last.ckpt"


def is_dual(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is one of `rsmoe.commands.contrast`."""
    config = dict(checkpoint.get("hyper_parameters") or {}).get("config")
    return isinstance(config, Mapping) and "text_tower" in config
