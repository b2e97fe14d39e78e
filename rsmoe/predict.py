"""``python -m rsmoe.predict checkpoint=... image=... instruction="..."``: one answer, and how the router came to it.

Two dates, ``image=[before.tif,after.tif]``, also give a map of what changed, in the CRS of the first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

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
    console: Console | None = None,
) -> dict[str, Any]:
    """Answers one request on one image, or on two dates of it.

    Args:
        instruction: None asks for a description of one image, and for the changes of two.
        raster: options of `rsmoe.geo.RasterSource`, for GeoTIFFs.
        tile: side in pixels of the tiles of the change map; None is the side of the model's pictures (every pixel is
            seen as it is), 0 resizes the whole picture. The words are always about the whole picture, resized.
        device: where the model runs, see `rsmoe.device.pick_device`.
        console: where the progress of the change map is shown; None shows none.

    Returns:
        text; instruction; weights: expert -> weight of the router; prompts: expert -> its prompt in words; dates:
        `rsmoe.geo.dates.Dates`; shown: the same as the words were found on, in arrays, thinned if it is large; mask:
        (H, W) bool of the size of ``shown`` when the answer holds [SEG], else None; notes: what was done; change:
        `rsmoe.evaluation.change_tiles.TiledChange` of two dates from a model with a change map, else None; classes:
        what the values of that map are called, as far as the training data said.

    Raises:
        UserError: see `rsmoe.geo.dates.read_dates`; one image for a checkpoint that only knows pairs.
    """
    from rsmoe.data.change.instructions import CAPTION
    from rsmoe.data.sample import Sample
    from rsmoe.evaluation.answer import answer_batch, prompt_words
    from rsmoe.evaluation.change_tiles import map_changes
    from rsmoe.evaluation.open_run import open_run
    from rsmoe.geo.dates import read_dates

    run = open_run(checkpoint, device=device)
    model, codec, collate, config = run.model, run.codec, run.collate, run.config
    tasks = {task for expert in model.experts for task in expert.tasks}
    if len(images) == 1 and tasks <= {"change_caption", "change_vqa", "mask"} and tasks != {"mask"}:
        raise UserError(f"this checkpoint compares two dates, got one ({images[0]}): image=[before.tif,after.tif]")
    dates = read_dates(images, bands=config["bands"], options=raster)
    shown = dates.overview()
    # the task is a label of training data: at inference nothing reads it
    sample = Sample(
        id="request",
        images=shown.images,
        instruction=instruction or (DESCRIBE if len(images) == 1 else CAPTION),
        responses=("",),
        task="caption",
        source="command line",
    )
    batch = collate([(sample, 0)]).to(model.to_lm.weight.device)
    perception = model.perceive(batch)
    (given,) = answer_batch(model, codec, batch, beams=beams, max_new=max_new, perception=perception)
    change = None
    if "change" in model.maps and len(images) == 2:
        side = config["image_size"] if tile is None else tile
        change = map_changes(model, collate, dates, tile_px=side, console=console)
        dates = replace(dates, valid=change.valid)  # known now: to read it again would warp every pixel again
    notes = list(dates.notes)
    if shown.valid.shape != dates.valid.shape:
        (height, width), (deep, wide) = dates.valid.shape, shown.valid.shape
        what = "words" if given.mask is None else "words and mask"
        notes.append(f"{what}: {width} x {height} px are read thinned to {wide} x {deep}")
    return {
        "text": given.text,
        "instruction": sample.instruction,
        "weights": dict(zip(model.names, given.weights, strict=True)),
        "prompts": prompt_words(model, codec, batch, perception),
        "mask": None if given.mask is None else given.mask & shown.valid,
        "dates": dates,
        "shown": shown,
        "notes": tuple(notes),
        "change": change,
        "classes": run.change_classes,
        "image_size": config["image_size"],
    }


@main("predict")
def cli(cfg: DictConfig) -> None:
    """Prints the answer and the router's table; writes the answer, masks and maps where ``out`` says."""
    from omegaconf import OmegaConf
    from rich.table import Table

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.evaluation.change_report import picture_name, report_change, write_answer, write_mask

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    images = [Path(path) for path in (config["image"] if isinstance(config["image"], list) else [config["image"]])]
    for path in images:
        if not path.is_file() and len(images) > 1:
            raise UserError(
                f"no image file {path}; image=[a,b] is split at its commas: a name that holds one goes in quotes, "
                "image=['a,b.tif',c.tif]"
            )
    console = open_console()
    out_path = None if config["out"] is None else Path(config["out"])
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
            console=console,
        )
    console.print(out["text"].strip() or "(empty answer)", style="bold", markup=False, highlight=False, soft_wrap=True)
    for message in dict.fromkeys(str(w.message) for w in caught if w.category is UserWarning):
        console.print(f"warning: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    table = Table("expert", "weight", "prompt")
    for name, weight in sorted(out["weights"].items(), key=lambda item: -item[1]):
        table.add_row(name, f"{weight:.3f}", out["prompts"].get(name, ""))
    console.print(table)
    folder = None if out_path is None or picture_name(out_path) else out_path
    mask = change = None
    if out["mask"] is not None:
        mask = write_mask(out, out_path, console)
    elif out_path is not None and folder is None:
        console.print(f"the answer holds no mask: {out_path} is not written", markup=False, soft_wrap=True)
    notes = list(out.get("notes", ()))
    if out.get("change") is not None:
        change = report_change(out, images, folder, list(cfg.classes or out["classes"]), console)
        notes = change["notes"]
    else:
        for note in notes:
            console.print(note, markup=False, highlight=False, soft_wrap=True)
    if folder is not None:
        write_answer(folder, out, checkpoint=Path(cfg.checkpoint), paths=images, mask=mask, change=change, notes=notes)
        console.print(f"written to {folder}: answer.json", markup=False, soft_wrap=True)


if __name__ == "__main__":
    cli()
