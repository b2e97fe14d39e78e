"""Notebooks run from top to bottom, on a run that is trained for two steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = (
    *(f"stage.{name}.steps=2" for name in ("perception", "dense", "experts")),
    "evaluation.limit=6", "evaluation.beams=1", "evaluation.max_new=6",
    *(f"corpus.{name}.{split}.size=40" for name in ("described", "asked") for split in ("train", "test")),
    "corpus.questions.reader.scenes={train:34,test:2}", "image_size=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-m", "rsmoe.train", "experiment=unified_moe", *QUICK, f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return folder


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_notebook_runs(notebook: Path, run_folder: Path, tmp_path: Path) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells), "clear the outputs before committing"
    script = tmp_path / "cells.py"
    script.write_text("\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code"))
    environment = os.environ | {"RSMOE_RUN": str(run_folder), "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=notebook.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nats" in done.stdout
