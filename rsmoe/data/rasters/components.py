"""Connected components of a mask, in numpy."""

from __future__ import annotations

import numpy as np


def label_components(mask: np.ndarray, *, diagonal: bool = True, min_pixels: int = 1) -> tuple[np.ndarray, int]:
    """Numbers the connected components of a mask.

    Rows are cut into runs, runs that touch in neighbouring rows are joined by their smallest number until nothing
    moves: a handful of passes over the runs, not over the pixels.

    Args:
        mask: (H, W), bool or numbers, where 0 is outside.
        diagonal: whether pixels that touch at a corner are connected (8 neighbours), as OpenCV's contours have it.
        min_pixels: smaller components are specks, and left out.

    Returns:
        (H, W) int32 with 0 outside and 1 .. n by the component's first pixel, row by row; and n.
    """
    height, width = mask.shape
    labels = np.zeros(height * width, dtype=np.int32)
    steps = np.diff(np.pad(np.asarray(mask, dtype=bool), ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]  # as many as starts, in the same order; behind the last pixel
    runs = len(rows)
    if not runs:
        return labels.reshape(height, width), 0
    stride, reach = width + 2, int(diagonal)  # wide enough that runs of other rows never fall between the bounds
    first = np.searchsorted(rows * stride + ends, (rows + 1) * stride + starts - reach, side="right")
    behind = np.searchsorted(rows * stride + starts, (rows + 1) * stride + ends + reach, side="left")
    touching = behind - first
    above = np.repeat(np.arange(runs), touching)
    below = np.repeat(first - np.cumsum(touching) + touching, touching) + np.arange(len(above))
    root = np.arange(runs)
    while len(above):
        lowest = np.minimum(root[above], root[below])
        joined = root.copy()
        np.minimum.at(joined, root[above], lowest)
        np.minimum.at(joined, root[below], lowest)
        while (joined[joined] != joined).any():
            joined = joined[joined]
        if (joined == root).all():
            break
        root = joined
    number = np.unique(root, return_inverse=True)[1].astype(np.int32) + 1
    lengths = ends - starts
    pixels = np.repeat(rows * width + starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    labels[pixels] = np.repeat(number, lengths)
    large = np.bincount(labels) >= min_pixels
    large[0] = False
    return np.where(large, large.cumsum(), 0).astype(np.int32)[labels].reshape(height, width), int(large.sum())


def without_specks(mask: np.ndarray, min_pixels: int) -> np.ndarray:
    """(H, W) bool: the components of at least ``min_pixels`` pixels, so that what is not counted is nowhere either."""
    return label_components(mask, min_pixels=min_pixels)[0] > 0
