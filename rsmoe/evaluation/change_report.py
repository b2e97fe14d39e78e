"""What `rsmoe.predict` says and writes of the changes between two dates: a 3 x 3 summary, a map and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rsmoe.data.change.cells import CELLS
from rsmoe.errors import UserError
from rsmoe.evaluation.reply import Reply
from rsmoe.geo.geojson import map_features, write_geojson
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.simplify import HALF_PX
from rsmoe.geo.strips import row_slices, thinned
from rsmoe.geo.styles import Legend, write_styles
from rsmoe.geo.write import write_class_map

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
    reply: Reply,
    titles: Sequence[str],
    out: Path | None,
    classes: Sequence[str],
    console: Console,
    *,
    simplify_px: float = HALF_PX,
) -> dict[str, Any]:
    """Prints the 3 x 3 summary of a pair and how its map was made; writes the map with ``out``.

    Into the folder ``out`` go ``change.tif`` (kinds, 255 without data, in the CRS of the first date),
    ``change.geojson`` and ``change_crs.geojson`` (see `rsmoe.geo.geojson.write_geojson`), and ``change.png`` (before,
    after, map).

    Args:
        reply: with a map of changes in tiles.
        simplify_px: of the polygons, see `rsmoe.geo.geojson.map_features`.

    Returns:
        What ``answer.json`` says of the map: changed (share), cells, kinds (pixels and area of each), polygons, notes,
        and files.
    """
    dates, change = reply.dates, reply.change
    assert change is not None
    counts = count_kinds(change.kinds, dates.valid)
    seen = counts.sum(0)
    most = int(seen.nonzero()[0].max(initial=0))
    names = list(classes) or ["no change", "change"]
    names += [f"kind {k}" for k in range(len(names), most + 1)]
    if not classes and most > 1:
        names[1] = "kind 1"
    cells = changed_by_cell(counts)
    table = Table(title="changed", show_header=False, show_lines=True)
    shares = ["no data" if share is None else f"{100 * share:.1f} %" for share in cells.values()]
    for row in range(3):
        table.add_row(*shares[3 * row : 3 * row + 3])
    console.print(table)
    height, width = change.kinds.shape
    gsd_m, unknown = ground(dates.georeference)
    size = reply.image_size
    side = "" if gsd_m is None else f" at {gsd_m:.3g} m"
    way = f"{change.tiles} tiles of {change.tile_px} px{side}, each seen as {size} x {size}"
    notes = [
        *reply.notes,
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
        "files": [],
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
    written = write_geojson(
        out / "change.geojson",
        map_features(change.kinds, classes=names, gsd_m=gsd_m, simplify_px=simplify_px, said=reply.about),
        georeference=place,
    )
    told["polygons"] = written.features
    files = ["change.tif", *written.names]
    kinds_of = Legend(values=tuple(range(1, most + 1)), names=tuple(names[1 : most + 1]), colours=tuple(colours[1:]))
    told["files"] = [*files, "change.png", *write_styles(out, files, kinds_of)]
    shown = dates.overview(pixels=_DRAWN)
    kinds, valid = (thinned(own, shown.valid.shape) for own in (change.kinds, dates.valid))
    draw_change(
        out / "change.png", before=shown.images[0], after=shown.images[1], kinds=kinds, valid=valid,
        names=names, text=reply.text, titles=titles, changed=told["changed"],
    )  # fmt: skip
    console.print(
        f"written to {out}: change.tif, {', '.join(written.names)} ({written.features} polygons), change.png",
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


def changed_by_cell(counts: np.ndarray) -> dict[str, float | None]:
    """Name of each of `CELLS` -> share of its pixels with data that changed; None for a cell without data."""
    known, changed = counts.sum(1), counts[:, 1:].sum(1)
    return {name: float(c / n) if n else None for name, c, n in zip(CELLS, changed, known, strict=True)}
