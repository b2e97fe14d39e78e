"""Samples whose answer is boxes in words, and boxes of a declared convention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.boxes import convention as named
from rsmoe.data.boxes import hbb_of_obb, write
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError


def ground_sample(
    *,
    id: str,
    image: Path,
    size_px: tuple[int, int],
    instruction: str,
    boxes: np.ndarray,
    convention: str,
    source: str,
    kind: str = "",
    labels: tuple[str, ...] = (),
    meta: dict[str, Any] | None = None,
) -> Sample:
    """One request for boxes; its response is their text.

    ``meta["box_convention"]`` and ``meta["size_px"]`` say how an answer is to be read. Such a sample is never turned or
    cropped (``directional``): the coordinates in its words would no longer be true.

    Args:
        id: of the sample.
        image: the picture.
        size_px: its (width, height).
        instruction: the request.
        boxes: (n, 4) ``x1 y1 x2 y2`` or (n, 5) ``cx cy w h angle_deg``, float pixels; of oriented boxes the horizontal
            ones around them are kept beside.
        convention: how the answer is written. A convention of horizontal boxes takes those around oriented ones.
        source: name of the data set.
        kind: object class, or other finer type.
        labels: class of each box.
        meta: anything else.

    Raises:
        UserError: an unknown convention, or one of oriented boxes for horizontal ones.
    """
    oriented = boxes.shape[1] == 5
    upright = hbb_of_obb(boxes).clip(0, [*size_px, *size_px]) if oriented else boxes
    answer = boxes if named(convention).oriented else upright
    return Sample(
        id=id,
        images=(image,),
        instruction=instruction,
        responses=(write(answer, convention=convention, size_px=size_px),),
        task="ground",
        source=source,
        kind=kind,
        boxes_px=upright.astype(np.float32),
        obb_px=boxes.astype(np.float32) if oriented else None,
        labels=labels,
        directional=True,
        meta={"box_convention": convention, "size_px": tuple(size_px), **(meta or {})},
    )


def box_on_picture(
    numbers: Sequence[float], *, convention: str, size_px: tuple[int, int], where: str, setting: str
) -> np.ndarray:
    """(4,) float32 ``x1 y1 x2 y2`` of a box whose convention a release does not say, so that it was declared.

    Args:
        numbers: four, as written.
        convention: the name that was declared.
        size_px: (width, height) of the picture.
        where: the place, for the message.
        setting: the key that declares the convention, for the message.

    Raises:
        UserError: when the box is empty or leaves its picture, as it does somewhere under a wrong convention.
    """
    box = named(convention).to_px(np.array([numbers]), size_px)[0]
    # a tolerance of one pixel for boxes that were rounded up; a wrong convention errs by far more
    if (box[2:] <= box[:2]).any() or (box < -1).any() or (box[2:] > np.array(size_px) + 1).any():
        raise UserError(
            f"{where}: {list(numbers)} is no box on a picture of {size_px[0]} x {size_px[1]} pixels when read as "
            f"{convention!r}. Set {setting} to how this release writes boxes: pixel_xyxy or pixel_xywh"
        )
    return box
