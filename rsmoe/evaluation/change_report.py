"""What `rsmoe.predict` says and writes: answer.json, masks, and of a pair a 3 x 3 summary, a map and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rsmoe.data.change.cells import CELLS
from rsmoe.data.files.file_names import SUFFIXES
from rsmoe.errors import UserError
from rsmoe.files import whole_file, write_text
from rsmoe.geo.dates import Dates
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.strips import row_slices
from rsmoe.geo.write import write_class_map, write_polygons

_DRAWN = 2**20
"""Most pixels of a picture in a figure that is some 500 wide."""


def count_kinds(kinds: Any, valid: Any) -> np.ndarray:
    """(9, 256) number of pixels with data of each of `CELLS` and each value of a map.

    Args:
        kinds: (H, W) uint8, 0 for no change; an array, or what is cut like one.
        valid: (H, W) bool; likewise.
    """
    height, width = kinds.shape
    columns = 3 * np.arange(width, dtype=np.int64) // width
    counts = np.zeros(len(CELLS) * 256, np.int64)
    for rows in row_slices(kinds.shape):
        cells = (3 * np.arange(rows.start, rows.stop, dtype=np.int64) // height * 3)[:, None] + columns
        places = 256 * cells + kinds[rows, :]
        counts += np.bincount(places[valid[rows, :]], minlength=len(counts))
    return counts.reshape(len(CELLS), 256)


def report_change(
    answer: Mapping[str, Any], paths: Sequence[Path], out: Path | None, classes: Sequence[str], console: Console
) -> dict[str, Any]:
    """Prints the 3 x 3 summary of a pair and how its map was made; writes the map with ``out``.

    Into the folder ``out`` go ``change.tif`` (kinds, 255 without data) and ``change.geojson`` in the CRS of the first
    date, and ``change.png`` (before, after, map).

    Args:
        answer: of `rsmoe.predict.predict`, with a change map.
        paths: of the two dates.
        out: a folder; None writes nothing.
        classes: names of the kinds of change, the first is "no change".
        console: to print on.

    Returns:
        What ``answer.json`` says of the map: changed (share), cells, kinds (pixels and area of each), polygons, notes.
    """
    dates: Dates = answer["dates"]
    change = answer["change"]
    counts = count_kinds(change.kinds, dates.valid)
    seen = counts.sum(0)
    most = int(seen.nonzero()[0].max(initial=0))
    names = list(classes) or ["no change", "change"]
    names += [f"kind {k}" for k in range(len(names), most + 1)]
    if not classes and most > 1:
        names[1] = "kind 1"
    cells = cell_shares(counts)
    table = Table(title="changed", show_header=False, show_lines=True)
    shares = ["no data" if share is None else f"{100 * share:.1f} %" for share in cells.values()]
    for row in range(3):
        table.add_row(*shares[3 * row : 3 * row + 3])
    console.print(table)
    height, width = change.kinds.shape
    gsd_m, unknown = ground(dates.georeference)
    size = answer["image_size"]
    side = "" if gsd_m is None else f" at {gsd_m:.3g} m"
    way = f"{change.tiles} tiles of {change.tile_px} px{side}, each seen as {size} x {size}"
    notes = [
        *answer.get("notes", dates.notes),
        f"map: {way}",
        f"words: the whole {width} x {height} px, seen as {size} x {size}",
    ]
    notes += [f"no areas: {unknown}"] if unknown else []
    if empty := height * width - int(seen.sum()):
        notes.append(f"{100 * empty / (height * width):.1f} % of the pixels hold no data and are no change")
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    areas = [None if gsd_m is None else round(int(n) * gsd_m**2, 2) for n in seen]
    told: dict[str, Any] = {
        "changed": float(seen[1:].sum() / seen.sum()) if seen.any() else None,
        "cells": cells,
        "kinds": {names[k]: {"pixels": int(seen[k]), "area_m2": areas[k]} for k in range(1, most + 1)},
        "polygons": None,
        "notes": notes,
    }
    if out is None:
        console.print("add out=folder to write the map (GeoTIFF, GeoJSON) and a picture", markup=False)
        return told
    from rsmoe.figures.change_sheet import draw_change, map_colours

    place = dates.georeference
    colours = map_colours(most)
    write_class_map(
        out / "change.tif", change.kinds, georeference=place, valid=dates.valid, colours=colours, classes=names
    )
    told["polygons"] = write_polygons(
        out / "change.geojson", change.kinds, georeference=place, classes=names, gsd_m=gsd_m
    )
    shown = dates.overview(pixels=_DRAWN)
    kinds, valid = (_thinned(own, shown.valid.shape) for own in (change.kinds, dates.valid))
    draw_change(
        out / "change.png", before=shown.images[0], after=shown.images[1], kinds=kinds, valid=valid,
        names=names, text=answer["text"], titles=[path.stem for path in paths], changed=told["changed"],
    )  # fmt: skip
    console.print(
        f"written to {out}: change.tif, change.geojson ({told['polygons']} polygons), change.png",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    return told


def ground(place: Georeference | None) -> tuple[float | None, str]:
    """The gsd in metres, or None and why it cannot be known; no report ends for it."""
    if place is None:
        return None, ""
    try:
        return place.gsd_m, ""
    except UserError as error:
        return None, str(error)


def write_mask(answer: Mapping[str, Any], out: Path | None, console: Console) -> str | None:
    """Writes the mask of a [SEG] answer: ``out`` with a suffix is a picture, a folder gets mask.tif and mask.geojson.

    Args:
        answer: of `rsmoe.predict.predict`, with a mask.
        out: None says how to write it.
        console: to print on.

    Returns:
        Name of the file.
    """
    if out is None:
        console.print("the answer holds a mask: add out=mask.png to write it", markup=False)
        return None
    shown: Dates = answer["shown"]
    if picture_name(out):
        from PIL import Image

        with whole_file(out) as part:
            Image.fromarray(answer["mask"].astype("uint8") * 255).save(part)
        console.print(f"mask written to {out}", markup=False, soft_wrap=True)
        return out.name
    place = shown.georeference
    gsd_m, _ = ground(place)
    write_class_map(out / "mask.tif", answer["mask"], georeference=place, valid=shown.valid)
    write_polygons(out / "mask.geojson", answer["mask"], georeference=place, classes=("", "object"), gsd_m=gsd_m)
    console.print(f"mask written to {out}: mask.tif, mask.geojson", markup=False, soft_wrap=True)
    return "mask.tif"


def write_answer(
    folder: Path,
    answer: Mapping[str, Any],
    *,
    checkpoint: Path,
    paths: Sequence[Path],
    mask: str | None,
    change: Mapping[str, Any] | None,
    notes: Sequence[str],
) -> None:
    """Writes ``answer.json``, which has the same keys for an answer of any kind; null where it holds no such thing.

    Args:
        folder: may not be there yet.
        answer: of `rsmoe.predict.predict`.
        checkpoint, paths: what was asked, and about which pictures.
        mask: file of the mask.
        change: of `report_change`.
        notes: what was said to the user.
    """
    dates: Dates = answer["dates"]
    place = dates.georeference
    height, width = dates.valid.shape
    gsd_m, _ = ground(place)
    told = {
        "checkpoint": str(checkpoint),
        "images": [str(path) for path in paths],
        "instruction": answer["instruction"],
        "text": answer["text"],
        "weights": answer["weights"],
        "prompts": answer["prompts"],
        "size_px": [width, height],
        "crs": None if place is None else place.crs,
        "transform": None if place is None else list(place.transform),
        "gsd_m": gsd_m,
        "mask": mask,
        "changed": None,
        "cells": None,
        "kinds": None,
        "polygons": None,
        "notes": list(notes),
    }
    told |= {key: value for key, value in (change or {}).items() if key != "notes"}
    write_text(folder / "answer.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def picture_name(out: Path) -> bool:
    """Whether ``out`` names a picture for a mask, not a folder."""
    return out.suffix.lower() in SUFFIXES and not out.is_dir()


def cell_shares(counts: np.ndarray) -> dict[str, float | None]:
    """Name of each of `CELLS` -> share of its pixels with data that changed; None for a cell without data.

    Args:
        counts: of `count_kinds`.
    """
    known, changed = counts.sum(1), counts[:, 1:].sum(1)
    return {name: float(c / n) if n else None for name, c, n in zip(CELLS, changed, known, strict=True)}


def _thinned(values: Any, shape: tuple[int, int]) -> np.ndarray:
    """A map, at some of its pixels."""
    if values.shape == shape:
        return np.asarray(values)
    rows, columns = (np.arange(n) * side // n for n, side in zip(shape, values.shape, strict=True))
    parts = []
    for strip in row_slices(values.shape):
        own = rows[(rows >= strip.start) & (rows < strip.stop)] - strip.start
        if len(own):
            parts.append(values[strip, :][own[:, None], columns])
    return np.concatenate(parts)
