"""What stands beside an answer: the router, masks and maps as PNG and GeoJSON, boxes, and where the picture lies."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from rsmoe.cli.terminal import printable
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.change_report import changed_by_cell, count_kinds, ground
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.reply_files import box_features, mask_features, reply_row
from rsmoe.figures.change_sheet import map_colours
from rsmoe.figures.class_colours import class_colours
from rsmoe.geo.geojson import Feature, map_features, write_geojson
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.write import write_class_map
from rsmoe.web.chat import Extra
from rsmoe.web.graticule import graticule

_SHOWN = 2**20
"""Most pixels of a picture that is sent back."""


def rsmoe_field(model: Assistant, reply: Reply, *, wanted: Extra, notes: Sequence[str]) -> dict[str, Any]:
    """The field ``rsmoe`` of an answer; sizes, boxes and layers are in pixels of the (first) picture.

    Args:
        wanted: what of it was asked for.
        notes: that come first.
    """
    row = reply_row(reply)
    said = {key: row[key] for key in ("routing", "size_px", "crs", "gsd_m", "boxes_px")}
    said["notes"] = [printable(note) for note in (*notes, *reply.notes)]
    place = reply.shown.georeference
    said["layers"] = []
    for name, values, classes in _maps(model, reply):
        colours = class_colours(classes) if name == "land cover" else map_colours(len(classes) - 1)
        layer = {"name": name, "classes": list(classes), "colours": colours}
        layer["png"] = _data(Image.fromarray(values), "png")
        if wanted.geotiff:
            layer["geotiff"] = _geotiff(values, reply, colours=colours, classes=classes)
        said["layers"].append(layer)
    if reply.change_map is not None:
        said |= changes(reply.change_map, reply.shown.valid)
    if wanted.geojson:
        found = list(mask_features(reply))
        gsd_m, _ = ground(place)
        for name, values, classes in _maps(model, reply):
            found += () if name == "mask" else map_features(values, classes=classes, gsd_m=gsd_m)
        said["geojson"] = collection(found, place)
        said["geojson"]["features"] += collection(box_features(reply), reply.dates.georeference)["features"]
    if wanted.graticule:
        said["graticule"] = graticule(reply.dates.georeference)
    if wanted.prompts and reply.prompts is not None:
        said["prompts"] = {name: printable(words) for name, words in reply.prompts.items()}
    if wanted.pictures:
        said["pictures"] = [_jpeg(image) for image in reply.dates.overview(pixels=_SHOWN).images]
    return said


def changes(kinds: Any, valid: Any) -> dict[str, Any]:
    """The share of pixels that changed, of all and of each of 3 x 3 cells."""
    counts = count_kinds(kinds, valid)
    seen = counts.sum(0)
    return {"changed": float(seen[1:].sum() / seen.sum()) if seen.any() else None, "cells": changed_by_cell(counts)}


def change_features(reply: Reply, classes: Sequence[str]) -> Iterator[Feature]:
    """The map of changes in tiles, as polygons."""
    assert reply.change is not None
    gsd_m, _ = ground(reply.dates.georeference)
    return map_features(reply.change.kinds, classes=classes or ("no change", "change"), gsd_m=gsd_m)


def collection(features: Iterator[Feature] | Sequence[Feature], place: Georeference | None) -> dict[str, Any]:
    """A GeoJSON: longitude and latitude where the picture lies on the earth, else pixels, or its local CRS."""
    with TemporaryDirectory(prefix="rsmoe-serve-") as folder:
        written = write_geojson(Path(folder, "found.geojson"), features, georeference=place)
        found: dict[str, Any] = json.loads(Path(folder, written.names[0]).read_text(encoding="utf-8"))
    return found


def _maps(model: Assistant, reply: Reply) -> Iterator[tuple[str, np.ndarray, Sequence[str]]]:
    """Name, (H, W) uint8 values of the size of ``reply.shown``, names of the values; 0 is nothing."""
    if reply.mask is not None:
        yield "mask", reply.mask.astype(np.uint8), ("", "object")
    if reply.change_map is not None:
        yield "change", reply.change_map, model.run.change_classes or ("no change", "change")
    if reply.land_cover is not None:
        shown = np.where(reply.shown.valid, reply.land_cover + 1, 0).astype(np.uint8)  # its 0 is a class, too
        yield "land cover", shown, ("", *model.cover_classes)


def _geotiff(values: np.ndarray, reply: Reply, *, colours: Sequence[str], classes: Sequence[str]) -> str:
    with TemporaryDirectory(prefix="rsmoe-serve-") as folder:
        path = write_class_map(
            Path(folder, "map.tif"), values, georeference=reply.shown.georeference, valid=reply.shown.valid,
            colours=colours, classes=classes,
        )  # fmt: skip
        return f"data:image/tiff;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _jpeg(image: np.ndarray) -> str:
    return _data(
        Image.fromarray(np.ascontiguousarray(image[..., :3] if image.shape[2] >= 3 else image[..., 0])), "jpeg"
    )


def _data(image: Image.Image, kind: str) -> str:
    file = io.BytesIO()
    image.save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
