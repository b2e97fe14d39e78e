"""RSVG: expressions that refer to one object each, in torch files."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsmoe.data.boxes import convention as named
from rsmoe.data.files.values import is_number
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, require_file
from rsmoe.data.readers.picture_check import PictureCheck, seen_size
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError, require_known


class RSVG(Reader):
    """One sample an expression, with the box of the object that it refers to.

    ``rsvg_train.pth``, ``rsvg_val.pth``, ``rsvg_test.pth``: lists of (image file, box, expression, ...), written with
    ``torch.save``; read without running any code in them. ``images/``: the pictures. The layout is that of a public
    converter for this release, and it takes the box as corners in pixels: not checked against the release, therefore
    ``box_convention`` is a setting, and refused when most boxes leave their pictures under it.

    Args:
        box_convention: how the release writes a box, "pixel_xyxy" or "pixel_xywh".

    Attributes:
        unused: "no expression" -> positions of rows whose expression is empty; boxes that are none -> file, picture,
            position.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "rsvg",
        splits: Mapping[str, str],
        images: str = "images",
        box_convention: str = "pixel_xyxy",
        convention: str = "minigpt",
        prompt: str = "Where is this: {expression}?",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        require_known(f"split of {name}", split, known=splits)
        path = folder / splits[split]
        rows = [_row(row, f"{path.name}, [{i}]") for i, row in enumerate(_load(path))]
        paths = find_images(folder / images, [file for file, _, _ in rows], source=name)
        sizes = {file: seen_size(paths[file]) for file in paths}
        check = PictureCheck(
            self,
            space=repr(box_convention),
            remedy="Set data.box_convention to how this release writes boxes: pixel_xyxy or pixel_xywh",
            declared=True,
        )
        for i, (file, numbers, expression) in enumerate(rows):
            if not expression:
                self.leave_out("no expression", str(i))
                continue
            box = named(box_convention).to_px(np.array([numbers]), sizes[file])
            held = check.boxes(box, sizes[file], [f"{path.name}, {file}, [{i}]"], written=[numbers])
            if not len(held.kept):
                continue
            request = prompt.format(expression=expression.rstrip(". "))
            sample = self._make_ground(str(i), paths[file], sizes[file], request, held.boxes, convention=convention)
            self._samples.append(sample)
        check.finish()
        if not self._samples:
            raise UserError(f"{name}: split {split!r} holds no expression")
        self.counts = {"images": len({s.images[0] for s in self._samples}), "expressions": len(self._samples)}


def _load(path: Path) -> list[Any]:
    try:
        rows = torch.load(require_file(path), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(
            f"{path} is not a list of plain values written with torch.save ({str(error).splitlines()[0][:120]}). "
            "Download it again; of arrays inside, write plain lists"
        ) from error
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path} should hold a list of rows, found {type(rows).__name__} {str(rows)[:40]}")
    return rows


def _row(row: Any, where: str) -> tuple[str, tuple[float, ...], str]:
    """(file, four numbers, expression) of a row, which may have more behind."""
    form = isinstance(row, list | tuple) and len(row) >= 3 and isinstance(row[0], str) and isinstance(row[2], str)
    numbers = row[1].tolist() if form and isinstance(row[1], torch.Tensor) else row[1] if form else None
    if not isinstance(numbers, list | tuple) or len(numbers) != 4 or not all(map(is_number, numbers)):
        raise UserError(f"{where}: expected (image file, four numbers, expression), found {str(row)[:80]}")
    return row[0], tuple(map(float, numbers)), " ".join(row[2].split())
