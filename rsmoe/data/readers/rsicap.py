"""RSICap: detailed descriptions of DOTA crops, written by experts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rsmoe.checks.ranges import Fraction
from rsmoe.data.files.file_names import stem
from rsmoe.data.files.text_files import stripped
from rsmoe.data.files.values import text_of
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, identity, read_json, require_split
from rsmoe.data.readers.class_maps import maps_beside
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.splits import held_out, require_fractions
from rsmoe.errors import UserError

_DOTA_CROP = re.compile(r"(P\d{4})_\d+")

_KEYS = ("filename", "text_input", "text_output")


class RSICap(Reader):
    """One sample a description: ``{"annotations": [{"image_id", "filename", "text_input", "text_output"}]}``.

    Panchromatic images are among them; ``text_input`` is one of four requests for a detailed description;
    ``text_output`` is a text, or a list of texts as in the instruction files that RSGPT makes of UCM, Sydney and RSICD.
    Further keys of a row go to ``Sample.meta``.

    The release has no validation split. Here it is ``val_fraction`` of the images, see `held_out`. Crops of one DOTA
    picture (``P0378_0001``, ``P0378_0007``) stay on one side. The test set of RSICap is `RSIEval`.

    Args:
        split: "train" or "val".
        class_maps: a folder of class maps, relative to ``root``, for ``Sample.class_map``, see `maps_beside`; the
            release has none.
        val_fraction: share of the images that "val" gets, at least one image when it is positive; 0 trains on all.
        protocol: prefix of the numbers measured on it: "" for the release, "generated/" for generated scenes.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "rsicap",
        annotations: str = "captions.json",
        images: str = "images",
        class_maps: str | None = None,
        val_fraction: Fraction = 0.05,
        protocol: str = "",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_fractions(name, val_fraction=val_fraction)
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self.protocol = protocol
        rows = field(read_json(folder / annotations), "annotations", list, annotations)
        files = [identity(row, "filename", f"{annotations}, annotations[{i}]") for i, row in enumerate(rows)]
        held = held_out(files, val_fraction, group=_picture)
        known = ([] if held >= set(files) else ["train"]) + (["val"] if held else [])
        require_split(name, split, known)
        chosen = [i for i, file in enumerate(files) if (file in held) == (split == "val")]
        paths = find_images(folder / images, [files[i] for i in chosen], source=name)
        maps = maps_beside(folder / class_maps if class_maps else None, paths, source=name)
        for i in chosen:
            request, responses = _texts(rows[i], f"{annotations}, annotations[{i}]")
            meta = {key: value for key, value in rows[i].items() if key not in _KEYS}
            key, picture = f"{files[i]}:{i}", (paths[files[i]],)
            self._add(key, picture, request, responses, "caption", meta=meta, **maps[files[i]])
        self.counts = {"images": len(paths), "descriptions": sum(len(s.responses) for s in self._samples)}


def _picture(file: str) -> str:
    """The DOTA picture that a crop was cut from; any other file is its own."""
    crop = _DOTA_CROP.fullmatch(stem(file))
    return crop[1] if crop else file


def _texts(row: dict[str, Any], where: str) -> tuple[str, tuple[str, ...]]:
    """Request and descriptions of a row."""
    request = stripped(field(row, "text_input", str, where))
    output = row.get("text_output")
    texts = output if isinstance(output, list) else [field(row, "text_output", str, where)]
    responses = tuple(filter(None, (text_of(text, f"{where}: 'text_output'") for text in texts)))
    if not request or not responses:
        raise UserError(f"{where}: 'text_input' or 'text_output' is empty")
    return request, responses
