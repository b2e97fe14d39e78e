"""From the pixels of a kind to the things."""

from __future__ import annotations

from typing import Any

import numpy as np

SMALLEST = 40
"""Pixels of the picture of a thing that counts."""


def things_of(kind: np.ndarray) -> list[np.ndarray]:
    """Connected components (4 neighbours) of the pixels where a kind is likely; things that touch are one.

    Args:
        kind: (H, W) probability; above 0.5 a pixel is of the kind.

    Returns:
        (H, W) bool each, of `SMALLEST` pixels at least, those of the highest sum of probabilities first.
    """
    from scipy import ndimage  # here: see `label_components`

    parts, _ = ndimage.label(kind > 0.5)
    found: list[tuple[float, np.ndarray]] = []
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        own = np.zeros(kind.shape, bool)
        own[place] = parts[place] == number
        if own.sum() >= SMALLEST:
            found.append((float(kind[own].sum()), own))
    return [own for _, own in sorted(found, key=lambda one: -one[0])]


def located(kind: np.ndarray) -> dict[str, Any]:
    """Fields of a `Prediction` from the (H, W) probability of a kind: ``mask``, (H, W) bool, ``masks`` of its things
    and ``boxes_px``, (m, 4) ``x1 y1 x2 y2`` around them, in the order of `things_of`."""
    things = things_of(kind)
    boxes = np.array([hull(thing) for thing in things], np.float32).reshape(-1, 4)
    mask = np.logical_or.reduce([np.zeros(kind.shape, bool), *things])
    return {"mask": mask, "masks": tuple(things), "boxes_px": boxes}


def hull(mask: np.ndarray) -> tuple[int, int, int, int]:
    """``x1 y1 x2 y2`` around the pixels of a mask that has some."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
