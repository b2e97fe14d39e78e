"""Samples whose answer is boxes in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.boxes import convention as named
from rsmoe.data.boxes import hbb_of_obb, write
from rsmoe.data.sample import Sample


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
