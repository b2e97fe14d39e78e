"""``python -m rsmoe.commands.search "a harbour with ships" store=<store>``: the tiles of an archive that fit best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.cli.sentence import with_sentence
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("search")
def _cli(cfg: DictConfig) -> None:
    from omegaconf import OmegaConf

    from rsmoe.archive.found import table_of, write_found
    from rsmoe.archive.open_embedder import open_embedder
    from rsmoe.archive.open_store import open_store
    from rsmoe.archive.query import query_vector
    from rsmoe.archive.where import Where
    from rsmoe.cli.terminal import console as open_console

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    bbox, dates = config["bbox"], config["dates"]
    dates = (dates, dates) if isinstance(dates, str) else dates
    where = Where(bbox=bbox and tuple(bbox), dates=dates and tuple(dates))
    store = open_store(cfg.store)
    checkpoint, raster = cfg.checkpoint or store.facts["checkpoint"], store.facts["raster"]
    if cfg.image is not None and not Path(cfg.image).is_file():
        raise UserError(f"no image file {cfg.image}")
    embedder = open_embedder(checkpoint, device=cfg.device)
    store.require({"model": embedder.fingerprint, "checkpoint": checkpoint})
    query = query_vector(embedder, text=cfg.text, image=cfg.image, raster=raster)
    hits = store.search(query, limit=cfg.limit, where=where)
    if not hits:
        some = "none of them is there and then: " + " ".join(_words(config, "bbox", "dates")) if len(store) else "empty"
        raise UserError(f"nothing found: {cfg.store} has {len(store):,} tiles, {some}")
    console = open_console(120)
    console.print(table_of(hits))
    if cfg.text is not None and (unknown := embedder.unknown_words(cfg.text)):
        console.print(f"words that the model has never read: {', '.join(unknown)}", style="red", highlight=False)
    if cfg.out is not None:
        heading = ", ".join(_words(config, "text", "image", "bbox", "dates"))
        names = write_found(
            Path(cfg.out), hits, heading=heading, raster=raster, asset=store.facts.get("asset"), bands=embedder.bands
        )
        console.print(f"written to {cfg.out}: {', '.join(names)}", highlight=False, soft_wrap=True)


def _words(config: dict[str, Any], *keys: str) -> list[str]:
    """What was asked for, as typed; the sentence without its key."""
    given = {key: config[key] for key in keys if config[key] is not None}
    lists = {key: f"[{','.join(map(str, v))}]" if isinstance(v, list) else v for key, v in given.items()}
    return [str(value) if key == "text" else f"{key}={value}" for key, value in lists.items()]


def cli(words: Sequence[str] | None = None) -> None:
    """Words that are no ``key=value`` are the sentence, ``text=``; the others are overrides of ``conf/search.yaml``."""
    _cli(with_sentence(words))


if __name__ == "__main__":
    cli()
