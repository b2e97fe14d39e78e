"""What a reply is as files: masks, boxes and maps for a GIS, and one row of json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from rsmoe.data.boxes import box_corners
from rsmoe.data.files.file_names import SUFFIXES
from rsmoe.evaluation.change_report import ground, report_change
from rsmoe.evaluation.land_cover_report import write_land_cover
from rsmoe.evaluation.reply import Reply
from rsmoe.files import whole_file
from rsmoe.geo.geojson import Feature, map_features, write_geojson
from rsmoe.geo.write import write_class_map


def picture_name(out: Path) -> bool:
    """Whether ``out`` names a picture for a mask, not a folder."""
    return out.suffix.lower() in SUFFIXES and not out.is_dir()


def write_reply(
    reply: Reply,
    folder: Path | None,
    *,
    picture: Path | None = None,
    titles: Sequence[str],
    cover_classes: Sequence[str],
    change_classes: Sequence[str],
    console: Console,
) -> dict[str, Any]:
    """Writes the mask, the boxes and the maps that a reply holds, and prints what becomes of them.

    Args:
        folder: for all of them; None writes none.
        picture: for the mask alone, in the place of a folder.

    Returns:
        "files" (names), "mask" (the first file of the mask, or None), and of a map of changes what
        `rsmoe.evaluation.change_report.report_change` says.
    """
    masks: list[str] = []
    said = "" if picture is None else f"the answer holds no mask: {picture} is not written"
    if reply.mask is not None:
        if picture is not None:
            masks = [write_mask_picture(reply, picture)]
        elif folder is not None:
            masks = write_mask(reply, folder)
        said = f"mask written to {folder or picture}: {', '.join(masks)}"
        said = said if masks else "the answer holds a mask: add out=mask.png to write it"
    if said:
        console.print(said, markup=False, soft_wrap=True)
    files = list(masks)
    if folder is not None and reply.boxes is not None:
        files += write_boxes(reply, folder)
    if folder is not None and reply.land_cover is not None:
        files += write_land_cover(reply, folder, cover_classes)
    told: dict[str, Any] = {}
    if reply.change is not None:
        told = report_change(reply, titles, folder, change_classes, console)
        files += told["files"]
    return told | {"files": files, "mask": masks[0] if masks else None}


def write_mask_picture(reply: Reply, path: Path) -> str:
    """Writes the mask of an answer that has one, 255 where it is true; the name of the file."""
    assert reply.mask is not None
    with whole_file(path) as part:
        Image.fromarray(reply.mask.astype("uint8") * 255).save(part)
    return path.name


def write_mask(reply: Reply, folder: Path) -> list[str]:
    """Writes the mask of an answer that has one: ``mask.tif``, whose values are the numbers of the targets from 1, and
    ``mask.geojson`` and ``mask_crs.geojson``, see `mask_features`.
    """
    place = reply.shown.georeference
    numbers = np.zeros(reply.shown.valid.shape, np.uint8)
    for number, mask in enumerate(reply.masks, start=1):
        numbers[mask] = number
    write_class_map(folder / "mask.tif", numbers, georeference=place, valid=reply.shown.valid)
    written = write_geojson(folder / "mask.geojson", mask_features(reply), georeference=place)
    return ["mask.tif", *written.names]


def write_boxes(reply: Reply, folder: Path) -> list[str]:
    """Writes the boxes of an answer that has some: ``boxes.geojson`` and ``boxes_crs.geojson``."""
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
        "sources": list(reply.sources),
        "confidence": None if reply.confidence is None else round(reply.confidence, 4),
        "routing": {name: round(weight, 6) for name, weight in reply.routing.items()},
        "size_px": [width, height],
        "crs": None if place is None else place.crs,
        "transform": None if place is None else list(place.transform),
        "gsd_m": ground(place)[0],
        "boxes_px": None if reply.boxes is None else np.round(reply.boxes.astype(np.float64), 2).tolist(),
        "notes": list(reply.notes),
    }


def mask_features(reply: Reply) -> Iterator[Feature]:
    """The masks of an answer as polygons in pixels, with the number of their target, from 1: one polygon a target, or
    as many as it has pieces; none of a target that is not there."""
    gsd_m, _ = ground(reply.shown.georeference)
    for number, mask in enumerate(reply.masks, start=1):
        for properties, rings in map_features(mask.astype(np.uint8), classes=("", "object"), gsd_m=gsd_m):
            yield {"target": number, **properties}, rings


def box_features(reply: Reply) -> Iterator[Feature]:
    """The boxes of an answer that has some, as polygons in pixels."""
    assert reply.boxes is not None
    for number, box in enumerate(reply.boxes.astype(np.float64)):
        corners = box_corners(box)
        ring = np.concatenate([corners, corners[:1]])
        x, y = ring.T
        if x[:-1] @ y[1:] < x[1:] @ y[:-1]:  # the region has to be on the right of its outline
            ring = ring[::-1]
        properties = {"id": reply.id, "box": number, "instruction": reply.instruction, "answer": reply.text}
        yield properties | {"box_px": np.round(box, 2).tolist()}, [ring]
