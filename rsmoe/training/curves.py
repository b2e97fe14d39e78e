"""The logger of a run, from its first stage to the end of its job."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from rsmoe.parts import instantiate


def open_curves(config: Mapping[str, Any] | None, folder: Path, *, run: Mapping[str, Any]) -> Logger | None:
    """The one logger of all stages, with the run's config in it; None where there is none.

    Args:
        config: of a Lightning logger.
        folder: of the run.
        run: its resolved config, without tokenizers.
    """
    if not config:
        return None
    curves: Logger = instantiate(config, save_dir=str(folder))
    curves.log_hyperparams(dict(run))
    return curves


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
