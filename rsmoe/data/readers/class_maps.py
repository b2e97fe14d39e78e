"""Land cover class maps added to a release that has none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsmoe.data.files.file_names import stem
from rsmoe.data.rasters.class_map_sources import IndexMap
from rsmoe.data.rasters.images import find_images
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.readers.annotations import read_lines
from rsmoe.data.readers.picture_check import seen_size
from rsmoe.errors import UserError

NAMES = "classes.txt"
"""File beside the class maps that names the classes, one a line."""


def maps_beside(folder: Path | None, images: Mapping[str, Path], *, source: str) -> dict[str, dict[str, Any]]:
    """The fields ``class_map`` and ``classes`` of a `Sample` on each picture.

    Args:
        folder: of one PNG a picture, by its stem, with the index of the class of every pixel, 255 where none is known;
            and `NAMES`, one name of a class a line. None gives no fields.
        images: name of each picture in the annotations -> file.

    Raises:
        UserError: a missing folder, no names, more than 255 of them, pictures without a map or with one
            of another size (counted, five named), one map for two pictures.
    """
    if folder is None:
        return {name: {} for name in images}
    if not (folder / NAMES).is_file():
        raise UserError(
            f"{source}: no {folder / NAMES}. Write one name of a class a line there, in the order of the indices of "
            f"the maps beside it, or leave class_maps out"
        )
    classes = tuple(line.strip() for line in read_lines(folder / NAMES) if line.strip())
    if not 1 <= len(classes) <= UNKNOWN:
        raise UserError(f"{source}: {folder / NAMES} names {len(classes)} classes; expected 1 to {UNKNOWN}")
    wanted = {name: f"{stem(path.name)}.png" for name, path in images.items()}
    shared = {wanted[name]: path for name, path in images.items()}
    for name, path in images.items():
        if shared[wanted[name]] != path:
            raise UserError(
                f"{source}: {wanted[name]} in {folder} would be the class map of {path} and of {shared[wanted[name]]}. "
                "Give the pictures different names, or leave class_maps out"
            )
    missing: list[str] = []
    maps = find_images(folder, wanted.values(), source=source, absent=missing)
    if missing:
        raise UserError(
            f"{source}: {len(missing)} of {len(wanted)} have no class map: {', '.join(missing[:5])}. Put them into "
            f"{folder}, or leave class_maps out"
        )
    unlike = [
        f"{maps[wanted[name]].name} {seen_size(maps[wanted[name]])} on {path.name} {seen_size(path)}"
        for name, path in images.items()
        if seen_size(maps[wanted[name]]) != seen_size(path)
    ]
    if unlike:
        raise UserError(
            f"{source}: {len(unlike)} of {len(wanted)} class maps are of another (width, height) than their picture: "
            f"{', '.join(unlike[:5])}. Make them anew, or leave class_maps out"
        )
    return {
        name: {"class_map": IndexMap(maps[wanted[name]], image=path), "classes": classes}
        for name, path in images.items()
    }
