"""``python -m rsmoe.commands.change_detection data=levir_cd``: a model's change map against classical methods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsmoe.cli import main
from rsmoe.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from omegaconf import DictConfig
    from rich.table import Table
    from torch.utils.data import Dataset

    from rsmoe.data.sample import Sample
    from rsmoe.metrics.result import Result

NOTHING = "all unchanged"
"""Name of the trivial baseline that predicts no change anywhere."""
EVERYTHING = "all changed"
"""Name of the trivial baseline that predicts change in every pixel."""


def binary_pairs(dataset: Dataset[Sample], *, limit: int | None = None) -> list[Sample]:
    """The pairs with a map, each once, every kind of change being 1.

    Args:
        dataset: of pairs, and perhaps more.
        limit: n pairs, evenly spread; None for all.

    Raises:
        UserError: no sample of two dates with a class map.
    """
    from rsmoe.data.sampling.spread import spread

    samples = ((i, dataset[i]) for i in range(len(dataset)))  # type: ignore[arg-type]
    found = [i for i, sample in samples if len(sample.images) == 2 and sample.class_map is not None]
    if not found:
        raise UserError("no pair with a map of its changes: give data=levir_cd, dsifn_cd, s2looking ...")
    return [dataset[found[place]] for place in spread(len(found), limit)]


def classical_maps(samples: Sequence[Sample]) -> dict[str, list[np.ndarray]]:
    """Method -> a map (H, W) uint8 of each pair; also what saying one thing everywhere gives."""
    import numpy as np

    from rsmoe.data.rasters.images import load_image
    from rsmoe.studies.classical_change import CLASSICAL

    maps: dict[str, list[np.ndarray]] = {name: [] for name in (NOTHING, EVERYTHING, *CLASSICAL)}
    for sample in samples:
        before, after = (load_image(image) for image in sample.images)
        maps[NOTHING].append(np.zeros(before.shape[:2], np.uint8))
        maps[EVERYTHING].append(np.ones(before.shape[:2], np.uint8))
        for name, method in CLASSICAL.items():
            maps[name].append(method(before, after).astype(np.uint8))
    return maps


def model_maps(
    samples: Sequence[Sample],
    *,
    checkpoint: Path,
    tile: int | None,
    kinds: Sequence[int] | None = None,
    device: str = "auto",
) -> list[np.ndarray]:
    """The model's maps (H, W) uint8, as `rsmoe.predict` makes them: 1 for any change, or for one of ``kinds``.

    Raises:
        UserError: a checkpoint without a map of changes.
    """
    import numpy as np

    from rsmoe.data.rasters.images import load_image
    from rsmoe.evaluation.map_tiles import map_tiles
    from rsmoe.evaluation.open_run import open_run
    from rsmoe.geo.dates import Dates

    run = open_run(checkpoint, device=device)
    side = run.config["image_size"] if tile is None else tile
    found = []
    for sample in samples:
        before, after = (load_image(image) for image in sample.images)
        valid = np.ones(before.shape[:2], dtype=bool)
        dates = Dates(images=(before, after), valid=valid, georeference=None, notes=())
        said = np.asarray(map_tiles(run.model, run.collate, dates, name="change", tile_px=side).kinds)
        found.append((np.isin(said, kinds) if kinds else said > 0).astype(np.uint8))
    return found


def _table(rows: Mapping[str, Sequence[Result]], title: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table("method", title=title, header_style="bold", box=box.SIMPLE_HEAD)
    names = ("iou", "precision", "recall", "f1")
    for name in names:
        table.add_column(name, justify="right")
    for method, results in rows.items():
        own = {r.metric.split("/")[1]: r for r in results}
        cells = [f"{own[n].value:.1f}" for n in names]
        if own["iou"].low is not None:
            cells[0] += f" [{own['iou'].low:.1f}, {own['iou'].high:.1f}]"
        table.add_row(method, *cells)
    return table


@main("change_detection")
def cli(cfg: DictConfig) -> None:
    """Scores every method on the same pairs; writes metrics.json and maps.png into ``out``."""
    from omegaconf import OmegaConf

    from rsmoe.cli.terminal import console as open_console
    from rsmoe.device import pick_device
    from rsmoe.figures.change_detection_sheet import draw_maps
    from rsmoe.files import write_text
    from rsmoe.metrics.change.map_iou import ChangeMapOverlap
    from rsmoe.metrics.prediction import Prediction
    from rsmoe.metrics.scoring import tally_results
    from rsmoe.parts import instantiate
    from rsmoe.training.checkpoints import find_checkpoint

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    checkpoints = config["checkpoint"] if isinstance(config["checkpoint"], list) else [config["checkpoint"]]
    given = [find_checkpoint(Path(str(path))) for path in checkpoints if path is not None]
    pick_device(config["device"])
    out = Path(config["out"])
    dataset = instantiate(config["data"], split=config["split"])
    pairs = binary_pairs(dataset, limit=config["limit"])
    maps = classical_maps(pairs)
    for place, checkpoint in enumerate(given):
        name = "model" if len(given) == 1 else f"model {place + 1}"
        maps[name] = model_maps(
            pairs, checkpoint=checkpoint, tile=config["tile"], kinds=config["kinds"], device=config["device"]
        )
    known = {"protocol_prefix": str(getattr(dataset, "protocol", "")), "split": config["split"]}
    known |= {"draws": config["draws"], "seed": config["seed"]}
    metric = ChangeMapOverlap()
    rows: dict[str, list[Result]] = {}
    for name, own in maps.items():
        answered = [(s, Prediction(id=s.id, task=s.task, change_map=m)) for s, m in zip(pairs, own, strict=True)]
        tally = metric.tally(answered)
        assert tally is not None  # every pair has a map
        rows[name] = tally_results("change_map", metric, tally, **known)
    told = {
        "data": {"name": pairs[0].source, "pairs": len(pairs), "ids": [pair.id for pair in pairs]},
        "checkpoints": [str(path) for path in given],
        "tile": config["tile"],
        "kinds": config["kinds"],
        "results": [{"method": name, **r.as_dict()} for name, results in rows.items() for r in results],
    }
    write_text(out / "metrics.json", json.dumps(told, indent=1) + "\n")
    drawn = {name: own for name, own in maps.items() if name not in (NOTHING, EVERYTHING)}
    few = pairs[: config["pictures"]]
    if few:
        draw_maps(out / "maps.png", few, drawn)
    console = open_console(120)
    console.print(_table(rows, f"{pairs[0].source}, {config['split']}: {len(pairs)} pairs"))
    console.print(f"everything is in {out}", markup=False)


if __name__ == "__main__":
    cli()
