"""What `rsmoe.predict` says of a pair and writes of it: a 3 x 3 summary, a map for a GIS, a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rsmoe.data.change_cells import CELLS
from rsmoe.geo.dates import Dates
from rsmoe.geo.write import write_class_map, write_polygons


def cells_changed(kinds: np.ndarray, valid: np.ndarray) -> dict[str, float | None]:
    """Name of each of `CELLS` -> share of its pixels with data that changed; None for a cell without data.

    Args:
        kinds: (H, W) uint8, 0 for no change.
        valid: (H, W) bool.
    """
    height, width = kinds.shape
    rows, columns = 3 * np.arange(height) // height, 3 * np.arange(width) // width
    cells = rows[:, None] * 3 + columns
    known = np.bincount(cells[valid], minlength=9)
    changed = np.bincount(cells[valid & (kinds > 0)], minlength=9)
    return {
        name: float(part / whole) if whole else None for name, part, whole in zip(CELLS, changed, known, strict=True)
    }


def report_change(
    answer: Mapping[str, Any], paths: Sequence[Path], out: Path | None, classes: Sequence[str], console: Console
) -> None:
    """Prints the 3 x 3 summary of a pair and how its map was made; writes the map with ``out``.

    Into the folder ``out`` go ``change.tif`` (kinds, 255 without data) and ``change.geojson`` in the CRS of the first
    date, ``change.png`` (before, after, map), and ``answer.json``.

    Args:
        answer: of `rsmoe.predict.predict`, with a change map.
        paths: of the two dates.
        out: a folder; None writes nothing, and a name with a suffix is where the [SEG] mask goes.
        classes: names of the kinds of change, the first is "no change".
        console: to print on.
    """
    dates: Dates = answer["dates"]
    change = answer["change"]
    names = list(classes) or ["no change", "change"]
    names += [f"kind {k}" for k in range(len(names), int(change.kinds.max()) + 1)]
    if not classes and change.kinds.max() > 1:
        names[1] = "kind 1"
    cells = cells_changed(change.kinds, dates.valid)
    table = Table(title="changed", show_header=False, show_lines=True)
    shown = ["no data" if share is None else f"{100 * share:.1f} %" for share in cells.values()]
    for row in range(3):
        table.add_row(*shown[3 * row : 3 * row + 3])
    console.print(table)
    height, width = change.kinds.shape
    gsd_m = None if dates.georeference is None else dates.georeference.gsd_m
    size = answer["image_size"]
    ground = "" if gsd_m is None else f" at {gsd_m:.3g} m"
    way = f"{change.tiles} tiles of {change.tile_px} px{ground}, each seen as {size} x {size}"
    notes = [*dates.notes, f"map: {way}", f"words: the whole {width} x {height} px, seen as {size} x {size}"]
    if not dates.valid.all():
        notes.append(f"{100 * float((~dates.valid).mean()):.1f} % of the pixels hold no data and are no change")
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if out is None or out.suffix:
        if out is None:
            console.print("add out=folder to write the map (GeoTIFF, GeoJSON) and a picture", markup=False)
        return
    from rsmoe.analysis.change_sheet import draw_change

    out.mkdir(parents=True, exist_ok=True)
    write_class_map(out / "change.tif", change.kinds, georeference=dates.georeference, valid=dates.valid)
    polygons = write_polygons(
        out / "change.geojson", change.kinds, georeference=dates.georeference, classes=names, gsd_m=gsd_m
    )
    draw_change(
        out / "change.png", before=dates.images[0], after=dates.images[1], kinds=change.kinds, valid=dates.valid,
        names=names, text=answer["text"], titles=[path.stem for path in paths],
    )  # fmt: skip
    told = {
        "images": [str(path) for path in paths],
        "text": answer["text"],
        "weights": answer["weights"],
        "changed": float((change.kinds > 0)[dates.valid].mean()),
        "cells": cells,
        "polygons": polygons,
        "gsd_m": gsd_m,
        "notes": notes,
    }
    (out / "answer.json").write_text(json.dumps(told, indent=1) + "\n")
    console.print(f"written to {out}: change.tif, change.geojson ({polygons} polygons), change.png", markup=False)


def write_mask(answer: Mapping[str, Any], out: Path | None, console: Console) -> None:
    """Writes the mask of a [SEG] answer: ``out`` with a suffix is a picture, a folder gets mask.tif and mask.geojson.

    Args:
        answer: of `rsmoe.predict.predict`, with a mask.
        out: None says how to write it.
        console: to print on.
    """
    if out is None:
        console.print("the answer holds a mask: add out=mask.png to write it", markup=False)
    elif out.suffix:
        from PIL import Image

        Image.fromarray(answer["mask"].astype("uint8") * 255).save(out)
        console.print(f"mask written to {out}", markup=False)
    else:
        dates: Dates = answer["dates"]
        place = dates.georeference
        write_class_map(out / "mask.tif", answer["mask"], georeference=place, valid=dates.valid)
        write_polygons(out / "mask.geojson", answer["mask"], georeference=place, classes=("", "object"))
        console.print(f"mask written to {out}: mask.tif, mask.geojson", markup=False)
