"""The model that comes with the library."""

from __future__ import annotations

from pathlib import Path

STARTER = "starter"
"""Where a checkpoint is asked for, its name."""


def starter_folder() -> Path:
    """The folder with its config, weights and model card (`rsmoe.weights.saved_model`), beside this package."""
    return Path(__file__).parents[1] / "starter"


def is_starter(path: Path) -> bool:
    """Whether a path is its name, and nothing here has the same one."""
    return str(path) == STARTER and not path.exists()
