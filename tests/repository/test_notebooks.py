"""Notebooks run from top to bottom, on runs that are trained for two steps and logged to W&B offline."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import lightning.pytorch
import matplotlib.pyplot
import pytest
import transformers
import wandb
from support.forks import forked

import rsmoe.build
import rsmoe.evaluation.report
from rsmoe.train import cli

ROOT = Path(__file__).parents[2]
QUICK = (
    *(f"stage.{name}.{word}=2" for name in ("perception", "dense", "experts") for word in ("steps", "batch_size")),
    *(f"stage.{name}.requests_per_view=1" for name in ("dense", "experts")),
    "evaluation.limit=6", "evaluation.beams=1", "evaluation.max_new=6",
    *(f"corpus.{name}.{split}.size=40" for name in ("described", "asked") for split in ("train", "test")),
    "corpus.questions.reader.scenes={train:34,test:2}", "image_size=32",
)  # fmt: skip


assert lightning and matplotlib and transformers and wandb and rsmoe  # forks find them imported
SAYS = {
    "ablations_from_wandb": "2 offline runs\nrouter._target_",
    "change_on_a_map": "IoU with the truth",
    "own_data": "Are there ships in the image? -> ",
    "quick_start": "storage tanks   -> ",
    "router": " learned  ",
}
"""What a notebook prints when it has come to its end."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sweep over two routers."""
    home = tmp_path_factory.mktemp("runs")
    for router in ("instruction", "uniform"):
        words = (f"router={router}", "logger=wandb", f"hydra.run.dir={home}/unified_moe/{router}")
        done = forked(cli, ["experiment=unified_moe", *QUICK, *words], cwd=ROOT, env=_environment(home))
        assert done.returncode == 0, done.stderr[-2000:]
    return home


def _environment(home: Path) -> dict[str, str]:
    own = {
        "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "WANDB_MODE": "offline", "WANDB_SILENT": "true",
        "RSMOE_STEPS": "2", "RSMOE_LIMIT": "4",
        "RSMOE_RUNS": str(home), "RSMOE_RUN": str(home / "unified_moe" / "instruction"),
    }  # fmt: skip
    return os.environ | own


def as_fork(command: list[str], check: bool = False, **options: object) -> subprocess.CompletedProcess[str]:
    """A command of a notebook, without importing PyTorch again."""
    assert command[:2] == [sys.executable, "-m"], command
    done = forked(importlib.import_module(command[2]).cli, command[3:])
    if check:
        done.check_returncode()
    return done


def execute(script: Path) -> None:
    sys.argv, subprocess.run = [str(script)], as_fork  # type: ignore[assignment]
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebook_runs(notebook: Path, runs: Path, tmp_path: Path) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells), "clear the outputs before committing"
    script = tmp_path / "cells.py"
    script.write_text("\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code"))
    done = forked(execute, script, cwd=notebook.parent, env=_environment(runs))
    assert done.returncode == 0, done.stderr[-2000:]
    assert SAYS[notebook.stem] in done.stdout, done.stdout[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"), [("change_on_a_map", ""), ("router", "there is no run yet: python -m rsmoe")]
)
def test_a_notebook_before_anything_was_trained(name: str, says: str, tmp_path: Path) -> None:
    """Where there is no run the starter answers, or one line says what to type."""
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    script = tmp_path / "notebooks" / "cells.py"
    script.parent.mkdir()
    script.write_text("\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code"))
    environment = {k: v for k, v in _environment(tmp_path).items() if k != "RSMOE_RUN"}
    done = forked(execute, script, cwd=script.parent, env=environment)
    assert says in done.stderr if says else SAYS[name] in done.stdout, done.stderr[-2000:]
