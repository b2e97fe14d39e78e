"""``python -m rsmoe.commands.index images=<folder, shards, STAC items> out=<store>``: an archive, for `search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import Interrupted, main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("index")
def cli(cfg: DictConfig) -> None:
    """Embeds what is new or has changed, and says how fast that was."""
    from omegaconf import OmegaConf

    from rsmoe.archive.index_pictures import index_pictures
    from rsmoe.archive.listing import listed
    from rsmoe.archive.open_embedder import open_embedder
    from rsmoe.archive.open_store import create_store
    from rsmoe.cli.terminal import console as open_console
    from rsmoe.data.files.byte_ranges import is_url

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    raster = {key: value for key, value in config["raster"].items() if value is not None}
    pictures = listed(config["images"], asset=cfg.asset)
    embedder = open_embedder(cfg.checkpoint, device=cfg.device)
    here = Path(cfg.checkpoint)
    store = create_store(
        cfg.out,
        {
            "model": embedder.fingerprint,
            "checkpoint": str(here.absolute()) if here.exists() else cfg.checkpoint,
            "dim": embedder.dim,
            "tile": cfg.tile,
            "overlap": cfg.overlap,
            "raster": raster,
            "asset": cfg.asset,
        },
    )
    name = f"{cfg.out.rstrip('/').rpartition('/')[2]}.errors.jsonl"  # of a server's store: in this folder
    errors, console = Path(name) if is_url(cfg.out) else Path(cfg.out, "errors.jsonl"), open_console()
    try:
        done = index_pictures(
            embedder, store, pictures, images=config["images"], side=cfg.tile, overlap=cfg.overlap, raster=raster,
            batch_size=cfg.batch_size, errors=errors, console=console,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {len(store):,} tiles are in {cfg.out}. The same command goes on") from None
    said = f"{done.pictures:,} pictures embedded, {done.tiles:,} tiles"
    if done.tiles:
        said += f" in {done.seconds:.1f} s: {done.pictures / done.seconds:.1f} images/s, "
        said += f"{done.tiles / done.seconds:.1f} tiles/s"
    more = {"unchanged": done.kept, "gone": done.dropped, "not read": len(done.failed), "empty tiles": done.empty}
    said += "".join(f"; {number:,} {what}" for what, number in more.items() if number)
    console.print(f"{said}; {len(store):,} tiles in {cfg.out}", highlight=False, soft_wrap=True)
    if done.failed:
        path, why = next(iter(done.failed.items()))
        raise UserError(
            f"{len(done.failed)} of {len(pictures)} pictures are not in the store, see {errors}; the "
            f"first: {path}: {why}"
        )


if __name__ == "__main__":
    cli()
