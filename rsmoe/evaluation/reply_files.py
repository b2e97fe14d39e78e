"""What a reply is as files: masks, boxes and maps for a GIS, and one row of json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from rsmoe.data.boxes import box_corners
from rsmoe.data.boxes.geometry import polygon_area
from rsmoe.data.files.file_names import SUFFIXES
from rsmoe.evaluation.change_report import ground, report_change
from rsmoe.evaluation.land_cover_report import cover_of, write_cover
from rsmoe.evaluation.reply import Reply
from rsmoe.experts.seg import SegExpert
from rsmoe.figures.class_colours import class_colours
from rsmoe.files import whole_file
from rsmoe.geo.geojson import Feature, map_features, write_geojson
from rsmoe.geo.layers import LayerFormat, write_layers
from rsmoe.geo.simplify import HALF_PX
from rsmoe.geo.styles import Legend, write_styles
from rsmoe.geo.write import NO_DATA, write_class_map

_NOTHING = "#000000"
"""Colour of what is no target, in the colour table of a mask."""


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
    layers: LayerFormat | None = None,
    simplify_px: float = HALF_PX,
    console: Console,
) -> dict[str, Any]:
    """Writes the mask, the boxes and the maps that a reply holds, and prints what becomes of them.

    Args:
        folder: for all of them; None writes none.
        picture: for the mask alone, in the place of a folder.
        layers: the polygons in this format too, see `rsmoe.geo.layers.write_layers`.
        simplify_px: of the polygons of masks and maps, see `rsmoe.geo.geojson.map_features`.

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
            masks = write_mask(reply, folder, simplify_px=simplify_px)
        said = f"mask of {marked(reply.mask)} written to {folder or picture}: {', '.join(masks)}"
        said = said if masks else f"the answer holds a mask of {marked(reply.mask)}: add out=mask.png to write it"
    if said:
        console.print(said, markup=False, soft_wrap=True)
    files = list(masks)
    if folder is not None and reply.boxes is not None:
        files += write_boxes(reply, folder)
    if folder is not None and reply.land_cover is not None:
        kinds, dates = cover_of(reply)
        files += write_cover(
            folder, kinds, dates, classes=cover_classes, title=Path(reply.id).stem, simplify_px=simplify_px,
            said=reply.about,
        )  # fmt: skip
    told: dict[str, Any] = {}
    if reply.change is not None:
        told = report_change(reply, titles, folder, change_classes, console, simplify_px=simplify_px)
        files += told["files"]
    if folder is not None and layers is not None:
        files += write_layers(folder, files, layers)
    return told | {"files": files, "mask": masks[0] if masks else None}


def marked(mask: np.ndarray) -> str:
    """The share of an (H, W) bool mask in words."""
    return f"{100 * mask.mean():.3g} % of the pixels"


def write_mask_picture(reply: Reply, path: Path) -> str:
    """Writes the mask of an answer that has one, 255 where it is true; the name of the file."""
    assert reply.mask is not None
    with whole_file(path) as part:
        Image.fromarray(reply.mask.astype("uint8") * 255).save(part)
    return path.name


def write_mask(reply: Reply, folder: Path, *, simplify_px: float = HALF_PX) -> list[str]:
    """Writes the mask of an answer that has one: ``mask.tif``, whose values are the numbers of the targets from 1, 254
    for all further ones, and 1 everywhere of an answer in tiles; and ``mask.geojson`` and ``mask_crs.geojson``, see
    `mask_features`.
    """
    tiled = None if reply.answered is None else reply.answered.mask
    dates = reply.shown if tiled is None else reply.dates
    numbers: Any = np.zeros(dates.valid.shape, np.uint8) if tiled is None else tiled
    for number, mask in enumerate(reply.masks if tiled is None else (), start=1):
        numbers[mask] = min(number, NO_DATA - 1)
    names = _names(reply.text, len(reply.masks))[: NO_DATA - 1]
    colours = class_colours(list(dict.fromkeys(names)))
    shown = [dict(zip(dict.fromkeys(names), colours, strict=True))[name] for name in names]
    write_class_map(
        folder / "mask.tif", numbers, georeference=dates.georeference, valid=dates.valid,
        colours=(_NOTHING, *shown), classes=("", *names),
    )  # fmt: skip
    features = mask_features(reply, simplify_px=simplify_px)
    written = write_geojson(folder / "mask.geojson", features, georeference=dates.georeference)
    files = ["mask.tif", *written.names]
    legend = Legend(values=tuple(range(1, len(names) + 1)), names=tuple(names), colours=tuple(shown))
    return [*files, *write_styles(folder, files, legend)]


def write_boxes(reply: Reply, folder: Path) -> list[str]:
    """Writes the boxes of an answer that has some: ``boxes.geojson`` and ``boxes_crs.geojson``."""
    place = reply.dates.georeference
    files = list(write_geojson(folder / "boxes.geojson", box_features(reply), georeference=place).names)
    names = _names(reply.text, 1)
    legend = Legend(values=(1,), names=tuple(names), colours=tuple(class_colours(names)), filled=False)
    return [*files, *write_styles(folder, files, legend)]


def reply_row(reply: Reply) -> dict[str, Any]:
    """What is known of a reply, as plain json: the answer, the router, and where the picture lies."""
    place = reply.dates.georeference
    height, width = reply.dates.valid.shape
    return {
        "id": reply.id,
        **reply.about,
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


def mask_features(reply: Reply, *, simplify_px: float = HALF_PX) -> Iterator[Feature]:
    """The masks of an answer as polygons in pixels, with the number of their target, from 1: one polygon a target, or
    as many as it has pieces; none of a target that is not there. Of an answer in tiles each region is a target."""
    said, names = _said(reply), _names(reply.text, len(reply.masks))
    found = reply.answered
    if found is not None and found.mask is not None:
        gsd_m, _ = ground(reply.dates.georeference)
        features = map_features(found.mask, classes=("", names[0]), gsd_m=gsd_m, simplify_px=simplify_px)
        for number, score, (own, rings) in zip(found.numbers.tolist(), found.scores.tolist(), features, strict=True):
            yield {"target": number, **own, "score": round(score, 4), **said}, rings
        return
    gsd_m, _ = ground(reply.shown.georeference)
    scores = reply.mask_scores or (None,) * len(reply.masks)
    for number, (name, mask, score) in enumerate(zip(names, reply.masks, scores, strict=True), start=1):
        regions = map_features(mask.astype(np.uint8), classes=("", name), gsd_m=gsd_m, simplify_px=simplify_px)
        for own, rings in regions:
            yield {"target": number, **own, "score": None if score is None else round(score, 4), **said}, rings


def box_features(reply: Reply) -> Iterator[Feature]:
    """The boxes of an answer as polygons in pixels; none where it has no box."""
    if reply.boxes is None:
        return
    said, gsd_m = _said(reply), ground(reply.dates.georeference)[0]
    scores = reply.box_scores or (None,) * len(reply.boxes)
    (name,) = _names(reply.text, 1)
    for number, (box, score) in enumerate(zip(reply.boxes.astype(np.float64), scores, strict=True)):
        corners = box_corners(box)
        ring = np.concatenate([corners, corners[:1]])
        x, y = ring.T
        if x[:-1] @ y[1:] < x[1:] @ y[:-1]:  # the region has to be on the right of its outline
            ring = ring[::-1]
        own: dict[str, Any] = {"box": number, "name": name, "box_px": np.round(box, 2).tolist()}
        own["score"] = None if score is None else round(score, 4)
        if gsd_m is not None:
            own["area_m2"] = round(polygon_area([(float(a), float(b)) for a, b in corners]) * gsd_m**2, 2)
        yield own | said, [ring]


def _said(reply: Reply) -> dict[str, Any]:
    """What every feature of an answer says of it."""
    return {"id": reply.id, "expert": reply.expert, "prompt": reply.instruction, "answer": reply.text, **reply.about}


def _names(text: str, count: int) -> list[str]:
    """What an answer calls each of its targets: the words before its [SEG], of all before the first where they are not
    one for each; "object" without words."""
    said = [part.strip(" .,:;") or "object" for part in text.split(SegExpert.token)]
    return said[:count] if len(said) == count + 1 else [said[0] if len(said) > 1 else "object"] * count
