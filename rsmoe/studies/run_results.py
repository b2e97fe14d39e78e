"""What runs and evaluations left in their ``metrics.json``, read back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rsmoe.data.files.json_text import read_json
from rsmoe.errors import UserError


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """One ``metrics.json``: of a run of `rsmoe.train`, or of one of its checkpoints on one benchmark."""

    path: Path
    name: str
    """Of the experiment."""
    checkpoint: str
    """Stem of the checkpoint that a benchmark was run with; "" for the numbers of training itself."""
    method: str
    """Hash of the config without its seed: the same for runs that differ in nothing else."""
    seed: int
    results: tuple[dict[str, Any], ...]
    """Rows of `rsmoe.metrics.Result`, each with its "data"."""
    baselines: dict[str, tuple[dict[str, Any], ...]]
    start_method: str = ""
    """Hash of the method of the run that it started from; "" without one."""
    config: dict[str, Any] = field(default_factory=dict)
    """Of the run, {} where it is not beside the results."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Of its method: runs that differ in the seed alone have the same one."""
        return self.name, self.checkpoint, self.method


def find_results(folders: Sequence[Path]) -> list[RunResults]:
    """Every ``metrics.json`` under the folders, oldest first; results of a part of a benchmark are passed over.

    Raises:
        UserError: a folder that is not there, none that holds results, or a file that is of something else.
    """
    paths: list[Path] = []
    for folder in folders:
        if not folder.exists():
            raise UserError(f"no folder {folder}; give folders of runs, for example runs/*")
        found = folder.rglob("metrics.json") if folder.is_dir() else [folder]
        paths += [p for p in found if p.parent.name != "partial"]
    if not paths:
        shown = ", ".join(map(str, folders)) or "nothing"
        raise UserError(f"no metrics.json under {shown}; give folders that rsmoe.train or rsmoe.evaluate wrote: runs/*")
    return [_read(path) for path in sorted(set(paths), key=os.path.getmtime)]


def _read(path: Path) -> RunResults:
    try:
        rows = read_json(path)
        run = rows["run"]
        return RunResults(
            path=path,
            name=run["name"],
            checkpoint=run.get("checkpoint", ""),
            # files from before the method had a hash: only the same config is the same method
            method=run.get("method_sha256", run["config_sha256"]),
            seed=run["seed"],
            start_method=run.get("start_method", ""),
            results=tuple(rows["results"]),
            baselines={name: tuple(own) for name, own in rows["baselines"].items()},
            config=_config(path.parent / "config.yaml"),
        )
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(
            f"{path} was not written by rsmoe.train or rsmoe.evaluate ({type(error).__name__}: {error}). "
            "Leave its folder out"
        ) from error


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    plain: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return plain if isinstance(plain, dict) else {}
