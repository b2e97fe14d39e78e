"""``python -m rsmoe.commands.knowledge notes=<table or folder> out=<store>``: a store for answers with knowledge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("knowledge")
def cli(cfg: DictConfig) -> None:
    """Reads the notes, embeds them with their pictures, and says how many places they are about."""
    from omegaconf import OmegaConf
    from rich.text import Text

    from rsmoe.archive.open_embedder import open_embedder
    from rsmoe.cli.terminal import console as open_console
    from rsmoe.knowledge.knowledge_store import KnowledgeStore
    from rsmoe.knowledge.read_notes import read_notes
    from rsmoe.scenes.landmarks import write_landmarks

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    console, out = open_console(), Path(cfg.out)
    source = None if cfg.notes is None else Path(cfg.notes)
    if source is None:
        console.rule(Text("GENERATED LANDMARKS, NOT REAL PLACES", style="bold red"))
        source = write_landmarks(out / "landmarks", **config["generated"])
    notes = read_notes(source, images=None if cfg.images is None else Path(cfg.images))
    embedder = open_embedder(cfg.checkpoint, device=cfg.device)
    here = Path(cfg.checkpoint)
    facts = {key: config[key] for key in ("alike", "limit", "weight", "lookup")}
    facts["checkpoint"] = str(here.absolute()) if here.exists() else cfg.checkpoint
    store = KnowledgeStore.write(out, notes, embedder, facts=facts, batch_size=cfg.batch_size, console=console)
    points = sum(note.point is not None for note in store.notes)
    console.print(
        f"{len(store.notes):,} notes in {out}, {points:,} of them with coordinates; {len(store.by_picture):,} pictures",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


if __name__ == "__main__":
    cli()
