"""The logger of a run, from its first stage to the end of its job."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from rsmoe.errors import UserError
from rsmoe.parts import instantiate


def open_curves(config: Mapping[str, Any] | None, folder: Path) -> Logger | None:
    """The one logger of all stages and of the evaluation; None where the config names none.

    Args:
        config: of a Lightning logger.
        folder: of the run.
    """
    if not config:
        return None
    curves: Logger = instantiate(config, save_dir=str(folder))
    return curves


def log_config(curves: Logger, hparams: Mapping[str, Any]) -> None:
    """Begins the run of the logger: the resolved config, and what was typed, without tokenizers.

    Raises:
        UserError: Weights & Biases wants an account.
    """
    try:
        curves.log_hyperparams({**hparams.get("config", {}), "overrides": " ".join(hparams.get("words", []))})
    except Exception as error:
        if not type(error).__module__.startswith("wandb"):
            raise
        raise UserError(
            f"logger=wandb: {str(error).strip().splitlines()[0]}. Without an account: export WANDB_MODE=offline; with "
            "one: wandb login"
        ) from error


@contextmanager
def ended() -> Iterator[None]:
    """Ends the run of Weights & Biases that was begun within, also where the job fails: the next job of a sweep, in the
    same process, would go on in it."""
    code = 1
    try:
        yield
        code = 0
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and getattr(wandb, "run", None) is not None:
            wandb.finish(exit_code=code)
