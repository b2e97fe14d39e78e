"""What a question to the starter does not import: each of these takes a tenth of a second or more, together six."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HEAVY = (
    "transformers", "lightning", "peft", "torchmetrics", "torch._dynamo", "torch._inductor", "torch.distributed.tensor",
    "sympy", "scipy", "matplotlib", "pandas", "sklearn", "skimage", "rasterio", "wandb", "fsspec", "httpx", "httpx2",
    "requests", "huggingface_hub", "rsmoe.scenes", "rsmoe.training.module",
)  # fmt: skip
TOLD = f"import sys; print('heavy:', [name for name in {HEAVY} if name in sys.modules])"


def test_a_question_in_python_imports_nothing_heavy(tmp_path: Path) -> None:
    picture = _picture(tmp_path)
    code = f"import rsmoe; print(rsmoe.load('starter').ask({str(picture)!r}, 'How many ships are there?').text); {TOLD}"
    assert _said(code, tmp_path)[-1] == "heavy: []"


def test_a_question_on_the_command_line_imports_nothing_heavy(tmp_path: Path) -> None:
    words = [f"image={_picture(tmp_path)}", "instruction=How many ships are there?", f"out={tmp_path / 'found'}"]
    told = _said(f"from rsmoe.predict import cli; cli({words}); {TOLD}", tmp_path)
    assert told[-1] == "heavy: []"
    assert (tmp_path / "found" / "answer.json").is_file()


def test_help_imports_neither_torch_nor_hydra(tmp_path: Path) -> None:
    for name in ("train", "predict", "evaluate", "score", "serve"):
        code = (
            f"from rsmoe.{name} import cli; cli(['--help']); import sys; print({{'torch', 'hydra'}} & {{*sys.modules}})"
        )
        assert _said(code, tmp_path)[-1] == "set()", name


def _picture(folder: Path) -> Path:
    path = folder / "port.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)).save(path)
    return path


def _said(code: str, folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()
