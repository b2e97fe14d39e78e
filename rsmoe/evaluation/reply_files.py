"""What a reply is as files: masks, boxes and maps for a GIS, and one row of json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rsmoe.data.boxes import obb_corners
from rsmoe.data.files.file_names import SUFFIXES
from rsmoe.evaluation.change_report import ground
from rsmoe.evaluation.reply import Reply
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
