"""``python -m rsmoe.predict checkpoint=... image=... instruction="..."``: one answer, and how the router came to it.

Two dates, ``image=[before.tif,after.tif]``, also give a map of what changed, in the CRS of the first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.command import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

DESCRIBE = "Describe this image in detail."
"""What one image is asked, if nothing else is."""


def predict(
    *,
    checkpoint: Path,
    images: list[Path],
    instruction: str | None = None,
    beams: int = 3,
    max_new: int = 80,
    raster: Mapping[Any, Any] | None = None,
    tile: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Answers one request on one image, or on two dates of it.

    Args:
        instruction: None asks for a description of one image, and for the changes of two.
        raster: options of `rsmoe.geo.RasterSource`, for GeoTIFFs.
        tile: side in pixels of the tiles of the change map; None is the side of the model's pictures (every pixel is
            seen as it is), 0 resizes the whole picture. The words are always about the whole picture, resized.
        device: where the model runs, see `rsmoe.device.pick_device`.

    Returns:
        text; weights: expert -> weight of the router; prompts: expert -> its prompt in words; mask: (H, W) bool of the
        first image's size when the answer holds [SEG], else None; dates: `rsmoe.geo.dates.Dates`; change:
        `rsmoe.training.change_tiles.TiledChange` of two dates from a model with a change map, else None; classes: what
        the values of that map are called, as far as the training data said.

    Raises:
        UserError: see `rsmoe.geo.dates.read_dates`; one image for a checkpoint that only knows pairs.
    """
    from rsmoe.data.change_instructions import CAPTION
    from rsmoe.data.sample import Sample
    from rsmoe.geo.dates import read_dates
    from rsmoe.training.answer import answer_batch, prompt_words
    from rsmoe.training.change_tiles import map_changes
    from rsmoe.training.open_run import open_run

    run = open_run(checkpoint, device=device)
    model, codec, collate, config = run.model, run.codec, run.collate, run.config
    tasks = {task for expert in model.experts for task in expert.tasks}
    if len(images) == 1 and tasks <= {"change_caption", "change_vqa", "mask"} and tasks != {"mask"}:
        raise UserError(f"this checkpoint compares two dates, got one ({images[0]}): image=[before.tif,after.tif]")
    dates = read_dates(images, bands=config["bands"], options=raster)
    # the task is a label of training data: at inference nothing reads it
    sample = Sample(
        id="request",
        images=dates.images,
        instruction=instruction or (DESCRIBE if len(images) == 1 else CAPTION),
        responses=("",),
        task="caption",
        source="command line",
    )
    batch = collate([(sample, 0)]).to(model.to_lm.weight.device)
    (given,) = answer_batch(model, codec, batch, beams=beams, max_new=max_new)
    change = None
    if model.change is not None and len(images) == 2:
        change = map_changes(model, collate, dates, tile_px=config["image_size"] if tile is None else tile)
    return {
        "text": given.text,
        "weights": dict(zip(model.names, given.weights, strict=True)),
        "prompts": prompt_words(model, codec, batch),
        "mask": None if given.mask is None else given.mask & dates.valid,
        "dates": dates,
        "change": change,
        "classes": run.change_classes,
        "image_size": config["image_size"],
    }


@main("predict")
def cli(cfg: DictConfig) -> None:
    """Prints the answer and the router's table; writes masks and maps where ``out`` says."""
    from omegaconf import OmegaConf
    from rich.table import Table

    from rsmoe.terminal import console as open_console
    from rsmoe.training.change_report import report_change, write_mask

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    images = [Path(path) for path in (config["image"] if isinstance(config["image"], list) else [config["image"]])]
    for path in images:
        if not path.is_file() and len(images) > 1:
            raise UserError(
                f"no image file {path}; image=[a,b] is split at its commas: a name that holds one goes in quotes, "
                "image=['a,b.tif',c.tif]"
            )
    console = open_console()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        out = predict(
            checkpoint=Path(cfg.checkpoint),
            images=images,
            instruction=cfg.instruction,
            beams=cfg.beams,
            max_new=cfg.max_new,
            raster={k: v for k, v in config["raster"].items() if v is not None},
            tile=cfg.tile,
            device=cfg.device,
        )
    console.print(out["text"].strip() or "(empty answer)", style="bold", markup=False, highlight=False, soft_wrap=True)
    for message in dict.fromkeys(str(w.message) for w in caught if w.category is UserWarning):
        console.print(f"warning: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    table = Table("expert", "weight", "prompt")
    for name, weight in sorted(out["weights"].items(), key=lambda item: -item[1]):
        table.add_row(name, f"{weight:.3f}", out["prompts"].get(name, ""))
    console.print(table)
    folder = None if cfg.out is None else Path(str(cfg.out))
    if out["mask"] is not None:
        write_mask(out, folder, console)
    if out.get("change") is not None:
        report_change(out, images, folder, list(cfg.classes or out["classes"]), console)


if __name__ == "__main__":
    cli()
