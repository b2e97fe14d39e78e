"""What `rsmoe.predict` says and writes of the land cover of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.evaluation.change_report import ground
from rsmoe.evaluation.reply import Reply
from rsmoe.geo.dates import Dates
from rsmoe.geo.geojson import map_features, write_geojson
from rsmoe.geo.simplify import HALF_PX
from rsmoe.geo.strips import row_slices, thinned
from rsmoe.geo.styles import Legend, write_styles
from rsmoe.geo.write import NO_DATA, write_class_map

_DRAWN = 2**20
"""Most pixels of a picture in a figure."""


def cover_of(reply: Reply) -> tuple[Any, Dates]:
    """(H, W) uint8 land cover of a reply that has one, 255 without data, and the picture of its size: that in tiles,
    where there is one, else that of the picture as it was seen."""
    if reply.cover is not None:
        return reply.cover.kinds, reply.dates
    assert reply.land_cover is not None
    return np.where(reply.shown.valid, reply.land_cover, np.uint8(NO_DATA)), reply.shown


def cover_shares(kinds: Any, dates: Dates, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name of each class that is there -> its value, pixels, share of those with data and area; the largest first.

    Args:
        kinds: (H, W) map of the picture.
    """
    counts = np.zeros(len(classes), np.int64)
    for rows in row_slices(kinds.shape):
        counts += np.bincount(kinds[rows, :][dates.valid[rows, :]], minlength=len(classes))
    gsd_m, _ = ground(dates.georeference)
    return {
        classes[k]: {
            "class": int(k),
            "pixels": int(counts[k]),
            "share": float(counts[k] / counts.sum()),
            "area_m2": None if gsd_m is None else round(int(counts[k]) * gsd_m**2, 2),
        }
        for k in np.argsort(-counts, kind="stable")
        if counts[k]
    }


def write_cover(
    folder: Path,
    kinds: Any,
    dates: Dates,
    *,
    classes: Sequence[str],
    title: str,
    simplify_px: float = HALF_PX,
    said: Mapping[str, Any] | None = None,
) -> list[str]:
    """Writes a map of classes and its picture.

    ``land_cover.tif`` holds the classes with their names and colours, 255 without data, in the CRS of the picture;
    ``land_cover.geojson`` and ``land_cover_crs.geojson`` one polygon a region (see `rsmoe.geo.geojson.write_geojson`);
    ``land_cover.png`` shows it beside the picture.

    Args:
        kinds: (H, W) uint8 classes, 255 without data.
        simplify_px, said: of the polygons, see `rsmoe.geo.geojson.map_features`.
    """
    from rsmoe.figures.class_colours import class_colours
    from rsmoe.figures.land_cover_sheet import draw_land_cover

    place, colours = dates.georeference, class_colours(classes)
    write_class_map(
        folder / "land_cover.tif", kinds, georeference=place, valid=dates.valid, colours=colours, classes=classes
    )
    features = map_features(kinds, classes=classes, least=0, gsd_m=ground(place)[0], simplify_px=simplify_px, said=said)
    written = write_geojson(folder / "land_cover.geojson", features, georeference=place)
    shown = dates.overview(pixels=_DRAWN)
    shares = {name: (found["class"], found["share"]) for name, found in cover_shares(kinds, dates, classes).items()}
    draw_land_cover(
        folder / "land_cover.png",
        picture=shown.images[0],
        classes=thinned(kinds, shown.valid.shape),
        valid=thinned(dates.valid, shown.valid.shape),
        colours=colours,
        shares=shares,
        title=title,
    )
    files = ["land_cover.tif", *written.names]
    legend = Legend(values=tuple(range(len(classes))), names=tuple(classes), colours=tuple(colours))
    return [*files, "land_cover.png", *write_styles(folder, files, legend)]
