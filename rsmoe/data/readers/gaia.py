"""GAIA: pictures of many sensors from the web, five written descriptions each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsmoe.data.files.json_text import read_rows
from rsmoe.data.files.values import id_of, is_missing
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError

_META = {
    "resolution": "resolution",
    "location": "place",
    "lat": "lat",
    "lon": "lon",
    "tag": "tags",
    "satellite": "satellites",
    "sensor": "sensors",
    "modalities": "modalities",
    "image_alt": "alt",
    "image_src": "url",
    "credits": "credits",
}


class GAIA(Reader):
    """One sample an image: a json list of ``{"id", "captions": [5], "location", "resolution", "sensor", ...}``.

    Optical, radar, thermal and other products, as pictures. Each caption begins "The image showcases:", and is kept so;
    they are long.

    Only addresses are released. Whoever downloads the pictures keeps them here as ``<images>/<id>.png`` (any usual
    suffix); img2dataset writes the ``id`` of each beside it, with ``--save_additional_columns "['id']"``. Some
    addresses are dead by now: ``incomplete=true`` leaves out what could not be had, and lists it.

    ``Sample.meta``: resolution (Low, Moderate, High, Very High), place, lat, lon, tags, satellites, sensors,
    modalities, alt, url, credits, as far as a row has them.

    Args:
        annotations: split -> json, relative to ``root``.
        incomplete: whether images may be missing; else they are an error.

    Attributes:
        unused: "image not downloaded", "empty caption" -> ids.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "gaia",
        annotations: Mapping[str, str],
        images: str = "images",
        incomplete: bool = False,
        instruction: str = "Provide a detailed description of the image.",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        require_split(name, split, sorted(annotations))
        file = annotations[split]
        rows = _rows(folder / file)
        absent: list[str] = []
        pictures = [f"{key}.png" for key in rows]
        paths = find_images(folder / images, pictures, source=name, absent=absent if incomplete else None)
        self.leave_out("image not downloaded", *(file.removesuffix(".png") for file in absent))
        rows = {key: row for key, row in rows.items() if f"{key}.png" in paths}
        if not rows:
            raise UserError(f"{name}: none of the images of {file} is in {folder / images}. Download them first")
        for key, row in rows.items():
            where = f"{file}, id {key}"
            captions = self._captions(field(row, "captions", list, where), where, key)
            self._add(
                key,
                (paths[f"{key}.png"],),
                instruction,
                captions,
                "caption",
                meta={
                    new: row[old]
                    for old, new in _META.items()
                    if row.get(old) not in (None, "", []) and not is_missing(row[old])
                },
            )
        self.counts = {"images": len(paths), "captions": sum(len(s.responses) for s in self._samples)}


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    """The rows by id, which names the picture and so has to be a plain name, and unique."""
    rows: dict[str, dict[str, Any]] = {}
    for where, row in read_rows(path):
        value: object = field(row, "id", object, where)
        key = id_of(value, f"{where}: 'id'")
        if key in rows or Path(key).name != key:
            raise UserError(f"{where}: id {value!r} is no plain file name, or is there twice")
        rows[key] = row
    return rows
