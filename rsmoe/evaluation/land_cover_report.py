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
from rsmoe.geo.write import write_class_map

_DRAWN = 2**20
"""Most pixels of a picture in a figure."""


def land_cover_shares(reply: Reply, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name of each class that is there -> its value, pixels, share of those with data and area; the largest first."""
    return cover_shares(*_map(reply), classes)


def cover_shares(kinds: Any, dates: Dates, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`land_cover_shares` of an (H, W) map and its picture."""
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


def write_land_cover(reply: Reply, folder: Path, classes: Sequence[str], *, simplify_px: float = HALF_PX) -> list[str]:
    """Writes the land cover of a picture.

    ``land_cover.tif`` holds the classes with their names and colours, 255 without data, in the CRS of the picture;
    ``land_cover.geojson`` and ``land_cover_crs.geojson`` one polygon a region (see `rsmoe.geo.geojson.write_geojson`);
    ``land_cover.png`` shows it beside the picture.

    Args:
        reply: with a map of land cover: that in tiles, where there is one, else that of the picture as it was seen.
    """
    kinds, dates = _map(reply)
    # without data there is no region; tiles say so themselves
    regions = kinds if reply.cover is not None else np.where(dates.valid, kinds, np.uint8(255))
    return write_cover(
        folder,
        kinds,
        dates,
        classes=classes,
        title=Path(reply.id).stem,
        regions=regions,
        simplify_px=simplify_px,
        said=reply.about,
    )


def write_cover(
    folder: Path,
    kinds: Any,
    dates: Dates,
    *,
    classes: Sequence[str],
    title: str,
    regions: Any | None = None,
    simplify_px: float = HALF_PX,
    said: Mapping[str, Any] | None = None,
) -> list[str]:
    """Writes a map of classes and its picture, as `write_land_cover` tells.

    Args:
        kinds: (H, W) uint8 classes, 255 without data.
        regions: ``kinds`` with 255 where no polygon is wanted; None: as they are.
        simplify_px, said: of the polygons, see `rsmoe.geo.geojson.map_features`.
    """
    from rsmoe.figures.class_colours import class_colours
    from rsmoe.figures.land_cover_sheet import draw_land_cover

    place, colours = dates.georeference, class_colours(classes)
    write_class_map(
        folder / "land_cover.tif", kinds, georeference=place, valid=dates.valid, colours=colours, classes=classes
    )
    features = map_features(
        kinds if regions is None else regions,
        classes=classes,
        least=0,
        gsd_m=ground(place)[0],
        simplify_px=simplify_px,
        said=said,
    )
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


def _map(reply: Reply) -> tuple[Any, Any]:
    """(H, W) uint8 classes, and the picture of their size."""
    return (reply.land_cover, reply.shown) if reply.cover is None else (reply.cover.kinds, reply.dates)
