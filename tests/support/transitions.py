"""The two dates out of a map of transitions."""

from __future__ import annotations

import numpy as np

from rsmoe.data.rasters.mask_sources import UNKNOWN


def split_transitions(transitions: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The maps of both dates out of one `TransitionMap` read: two (H, W) uint8, 0 no change, 1 .. n, 255 unknown."""
    index = np.arange(256)
    before, after = 1 + (index - 1) // classes, 1 + (index - 1) % classes
    for table in (before, after):
        table[0], table[classes**2 + 1 :] = 0, UNKNOWN
    return before.astype(np.uint8)[transitions], after.astype(np.uint8)[transitions]
