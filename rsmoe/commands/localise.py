"""``python -m rsmoe.commands.localise "a harbour" image=scene.tif out=found``: a heat map of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.cli.sentence import with_sentence
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


@main("localise")
def _cli(cfg: DictConfig) -> None:
    import numpy as np
    from omegaconf import OmegaConf

    from rsmoe.archive.heat_map import heat_map, tiles_of
    from rsmoe.archive.open_embedder import open_embedder
    from rsmoe.cli.terminal import console as open_console
    from rsmoe.evaluation.watch import watched
    from rsmoe.figures.heat_sheet import plot_heat
    from rsmoe.geo.dates import read_dates
    from rsmoe.geo.file_format import raster_drivers
    from rsmoe.geo.write import write_class_map

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    path, out, console = Path(cfg.image), Path(cfg.out), open_console(120)
    if not path.is_file():
        raise UserError(f"no image file {path}")
    raster = {key: value for key, value in config["raster"].items() if value is not None}
    embedder = open_embedder(cfg.checkpoint, device=cfg.device)
    dates = read_dates([path], bands=embedder.bands, options=raster if raster_drivers(path) else {})
    (picture,) = dates.images
    with watched("tiles", len(tiles_of(picture.shape[:2], config["sides"])), console) as advance:
        heat = heat_map(
            embedder, picture, cfg.text, sides=config["sides"], batch_size=cfg.batch_size, watch=advance
        )  # fmt: skip
    write_class_map(
        out / "heat.tif", np.round(254 * heat).astype(np.uint8), georeference=dates.georeference, valid=dates.valid
    )  # fmt: skip
    shown = dates.overview().images[0]
    plot_heat(out / "heat.png", cfg.text, [("", shown, heat)])
    if unknown := embedder.unknown_words(cfg.text):
        console.print(f"words that the model has never read: {', '.join(unknown)}", style="red", highlight=False)
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    console.print(
        f"best at column {column}, row {row}; written to {out}: heat.tif (0 to 254), heat.png", highlight=False
    )


def cli(words: Sequence[str] | None = None) -> None:
    """Words that are no ``key=value`` are the sentence; the others are overrides of ``conf/localise.yaml``."""
    _cli(with_sentence(words))


if __name__ == "__main__":
    cli()
