"""``python -m rsmoe.commands.adapters checkpoint=... out=<folder>``: each expert as an adapter in PEFT's format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rsmoe.cli import main

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("adapters")
def cli(cfg: DictConfig) -> None:
    """Writes ``<out>/<expert>`` for each, and the language model beside them where it is no published one."""
    from rsmoe.cli.terminal import console
    from rsmoe.evaluation.open_run import open_run

    out = Path(cfg.out)
    model = open_run(Path(cfg.checkpoint), device="cpu").model
    model.bank.save_adapters(model.names, out)
    written = ", ".join(sorted(path.name for path in out.iterdir() if path.is_dir()))
    console().print(f"written to {out}: {written}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    cli()
