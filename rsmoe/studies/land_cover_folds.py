"""Land cover of pictures that each run left out: one confusion matrix over the test pictures of all of them.

``python -m rsmoe.studies.land_cover_folds runs/dubai_land_cover/... --out maps.jpg`` draws every map again, in tiles of
its run's ``evaluation.tile``, and prints IoU of the classes with 95 % intervals over pictures (2,000 draws).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from rsmoe.data.corpus import build_corpus
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.sample import Sample
from rsmoe.evaluation.map_tiles import tiled_outputs
from rsmoe.evaluation.open_run import open_run
from rsmoe.figures.class_colours import class_colours
from rsmoe.metrics.regions.class_map_iou import confusion

_DRAWS, _PANEL = 2000, 240


def table_of(said: np.ndarray, sample: Sample, classes: int) -> np.ndarray:
    """(1 + classes, classes) pixels by true and drawn class; those that are unlabelled in the last row."""
    assert sample.class_map is not None
    true = read_array(sample.class_map)
    unlabelled = np.bincount(said[true == UNKNOWN], minlength=classes)[:classes]
    return np.concatenate([confusion(said, true, classes)[:, :classes], unlabelled[None]])


def ious(tables: np.ndarray, *, unlabelled: bool) -> np.ndarray:
    """(..., 1 + classes, classes) -> (..., classes) x100, NaN of what is nowhere.

    Args:
        unlabelled: whether what is drawn of unlabelled pixels is false.
    """
    known = tables if unlabelled else tables[..., :-1, :]
    both = np.diagonal(tables, axis1=-2, axis2=-1)
    union = tables[..., :-1, :].sum(-1) + known.sum(-2) - both
    return np.where(union > 0, 100 * both / np.maximum(union, 1), np.nan)


def row(name: str, tables: np.ndarray) -> list[str]:
    """mIoU with its interval, with the unlabelled as one more class, and the IoU of each class."""
    total, classes = tables.sum(0), tables.shape[-1]
    places = np.random.default_rng(0).integers(0, len(tables), (_DRAWS, len(tables)))
    low, high = np.quantile(np.nanmean(ious(tables[places].sum(1), unlabelled=False), axis=1), (0.025, 0.975))
    found = ious(total, unlabelled=False)
    more = np.nansum(ious(total, unlabelled=True)) / (classes + 1)
    mean = f"{np.nanmean(found):.1f} [{low:.1f}, {high:.1f}]"
    return [name, str(len(tables)), mean, f"{more:.1f}", *(f"{value:.1f}" for value in found)]


def strip_of(said: np.ndarray, sample: Sample, colours: Sequence[str]) -> np.ndarray:
    """(h, w, 3) uint8: a picture, its true map and the drawn one, one below the other."""
    assert sample.class_map is not None
    table = np.full((256, 3), 255, np.uint8)
    table[: len(colours)] = [list(bytes.fromhex(colour[1:])) for colour in colours]
    panels = [load_image(sample.images[0]), table[read_array(sample.class_map)], table[said]]
    return np.concatenate([np.asarray(Image.fromarray(panel).resize((_PANEL, _PANEL))) for panel in panels])


def main() -> None:
    """Draws, counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="a picture: of each run one test picture, its true map, the drawn one")
    given = parser.parse_args()
    console, rows, tables, shown = Console(), [], [], []
    names: tuple[str, ...] = ()
    for path in given.runs:
        run = open_run(path)
        corpus = build_corpus(run.config["corpus"], root=run.config["data"]["root"], generated=False, console=console)
        (data,) = corpus.test.values()
        samples = [data[i] for i in range(len(data))]  # type: ignore[arg-type]
        tile, names = run.config["evaluation"]["tile"], run.model.maps["land_cover"].names
        drawn = [one["land_cover"] for one in tiled_outputs(run.model, run.collate, samples, tile_px=tile)]
        own = np.stack([table_of(said, s, len(names)) for said, s in zip(drawn, samples, strict=True)])
        tables.append(own)
        rows.append(row(Path(samples[0].id).parts[0], own))
        middle = len(samples) // 2
        shown.append(strip_of(drawn[middle], samples[middle], class_colours(names)))
    table = Table("test", "pictures", "mIoU", "unlabelled too", *names)
    for cells in [*rows, row("all", np.concatenate(tables))]:
        table.add_row(*cells)
    console.print(table)
    if given.out is not None:
        Image.fromarray(np.concatenate(shown, axis=1)).save(given.out, quality=88)


if __name__ == "__main__":
    main()
