"""Which folders hold configs: the library's ``conf/``, and before it what RSMOE_CONFIG_DIR names."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from rsmoe.errors import UserError

VARIABLE = "RSMOE_CONFIG_DIR"
"""Folders of the user's own configs, separated as in PATH; ``--config-dir`` sets it for the time of the command."""


@cache
def conf_dir() -> Path:
    """The folder of configs: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UserError(f"no conf/ beside {package}; reinstall with: pip install --force-reinstall rsmoe")


def config_folders() -> tuple[Path, ...]:
    """Where a task or a metric is looked for, the user's own folders first."""
    return _folders(os.environ.get(VARIABLE, ""))


@cache  # every sample asks, by the name of its task
def _folders(names: str) -> tuple[Path, ...]:
    return (*(Path(name) for name in names.split(os.pathsep) if name), conf_dir())
