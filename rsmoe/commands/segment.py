"""``python -m rsmoe.commands.segment names=[road,water] image=scene.tif out=found``: a map of named classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("segment")
def cli(cfg: DictConfig) -> None:
    """Hydra's entry."""
    from omegaconf import OmegaConf

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.contrast.open_names import OpenNames
    from rsmoe.evaluation.land_cover_report import cover_shares, write_cover
    from rsmoe.evaluation.open_map import OpenMap, load_aggregation
    from rsmoe.geo.dates import read_dates

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    path, out, console = Path(cfg.image), Path(cfg.out), open_console(120)
    if not path.is_file():
        raise UserError(f"no image file {path}")
    given = config["names"]
    if isinstance(given, list) and len(set(given)) < len(given):
        raise UserError(f"names: {', '.join(sorted({n for n in given if given.count(n) > 1}))} stands twice")
    names = given if isinstance(given, dict) else {name: [name] for name in given}
    opened = OpenNames.open(cfg.checkpoint, device=cfg.device)
    aggregation = load_aggregation(Path(cfg.aggregation), opened) if cfg.aggregation else None
    drawn = OpenMap(opened=opened, names=names, aggregation=aggregation, other=cfg.other)
    raster = {key: value for key, value in {**config["raster"], "gsd_m": cfg.gsd_m}.items() if value is not None}
    dates = read_dates([path], bands=opened.config["bands"], options=raster)
    found = drawn.draw(dates, tile_px=cfg.tile, console=console)
    files = write_cover(out, found.kinds, dates, classes=drawn.names, title=path.stem, simplify_px=cfg.simplify_px)
    for note in dates.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    for name, of in cover_shares(found.kinds, dates, drawn.names).items():
        console.print(f"{100 * of['share']:5.1f} % {name}", markup=False, highlight=False)
    console.print(f"{found.tiles} tiles of {found.tile_px} px; written to {out}: {', '.join(files)}", markup=False)


if __name__ == "__main__":
    cli()
