"""What a reply is as files: masks, boxes and maps for a GIS, and one row of json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rsmoe.data.boxes import obb_corners
from rsmoe.data.files.file_names import SUFFIXES
from rsmoe.evaluation.change_report import ground
from rsmoe.evaluation.reply import Reply
from rsmoe.figures.change_sheet import map_colours
from rsmoe.files import whole_file
from rsmoe.geo.geojson import Feature, map_features, write_geojson
from rsmoe.geo.write import write_class_map


def picture_name(out: Path) -> bool:
    """Whether ``out`` names a picture for a mask, not a folder."""
    return out.suffix.lower() in SUFFIXES and not out.is_dir()


def write_mask(reply: Reply, out: Path) -> list[str]:
    """Writes the mask of an answer that has one.

    Args:
        out: a picture; or a folder for ``mask.tif``, ``mask.geojson`` and ``mask_crs.geojson``.

    Returns:
        names of the files.
    """
    assert reply.mask is not None
    if picture_name(out):
        with whole_file(out) as part:
            Image.fromarray(reply.mask.astype("uint8") * 255).save(part)
        return [out.name]
    place = reply.shown.georeference
    gsd_m, _ = ground(place)
    write_class_map(out / "mask.tif", reply.mask, georeference=place, valid=reply.shown.valid)
    features = map_features(reply.mask, classes=("", "object"), gsd_m=gsd_m)
    return ["mask.tif", *write_geojson(out / "mask.geojson", features, georeference=place).names]


def write_boxes(reply: Reply, folder: Path) -> list[str]:
    """Writes the boxes of an answer that has some: ``boxes.geojson`` and ``boxes_crs.geojson``.

    Returns:
        names of the files.
    """
    return list(
        write_geojson(
            folder / "boxes.geojson", box_features(reply), georeference=reply.dates.georeference
        ).names
    )  # fmt: skip


def write_land_cover(reply: Reply, folder: Path, classes: Sequence[str]) -> list[str]:
    """Writes the land cover of a picture: ``land_cover.tif`` (255 without data), ``land_cover.geojson`` and
    ``land_cover_crs.geojson`` (one polygon a region), and ``land_cover.png``, its colours over the picture.

    Args:
        classes: names of the values.

    Returns:
        names of the files.
    """
    assert reply.land_cover is not None
    place, values, valid = reply.shown.georeference, reply.land_cover, reply.shown.valid
    gsd_m, _ = ground(place)
    colours = map_colours(len(classes))[1:]  # of the first class, too: 0 is no background here
    write_class_map(
        folder / "land_cover.tif", values, georeference=place, valid=valid, colours=colours, classes=classes
    )
    regions = map_features(np.where(valid, values + 1, 0).astype(np.uint8), classes=("", *classes), gsd_m=gsd_m)
    features = ((properties | {"class": properties["class"] - 1}, rings) for properties, rings in regions)
    written = write_geojson(folder / "land_cover.geojson", features, georeference=place)
    table = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], np.float32)
    picture = reply.shown.images[0].astype(np.float32)
    picture = picture[..., :3] if picture.shape[2] >= 3 else picture[..., :1].repeat(3, axis=2)
    mixed = np.where(valid[..., None], 0.5 * picture + 0.5 * table[values], 0).round().astype(np.uint8)
    with whole_file(folder / "land_cover.png") as part:
        Image.fromarray(mixed).save(part)
    return ["land_cover.tif", *written.names, "land_cover.png"]


def reply_row(reply: Reply) -> dict[str, Any]:
    """What is known of a reply, as plain json: the answer, the router, and where the picture lies."""
    place = reply.dates.georeference
    height, width = reply.dates.valid.shape
    return {
        "id": reply.id,
        "answer": reply.text,
        "instruction": reply.instruction,
        "confidence": None if reply.confidence is None else round(reply.confidence, 4),
        "routing": {name: round(weight, 6) for name, weight in reply.routing.items()},
        "size_px": [width, height],
        "crs": None if place is None else place.crs,
        "transform": None if place is None else list(place.transform),
        "gsd_m": ground(place)[0],
        "boxes_px": None if reply.boxes is None else np.round(reply.boxes, 2).tolist(),
        "notes": list(reply.notes),
    }


def box_features(reply: Reply) -> Iterator[Feature]:
    """The boxes of an answer that has some, as polygons in pixels."""
    assert reply.boxes is not None
    for number, box in enumerate(reply.boxes.astype(np.float64)):
        if len(box) == 5:
            corners = obb_corners(box[None])[0]
        else:
            x1, y1, x2, y2 = box
            corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        ring = np.concatenate([corners, corners[:1]])
        x, y = ring.T
        if x[:-1] @ y[1:] < x[1:] @ y[:-1]:  # the region has to be on the right of its outline
            ring = ring[::-1]
        properties = {"id": reply.id, "box": number, "instruction": reply.instruction, "answer": reply.text}
        yield properties | {"box_px": np.round(box, 2).tolist()}, [ring]
