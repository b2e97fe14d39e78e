"""The regions of a map of changes: how many of each kind, and in which cells."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rsmoe.data.change.cells import CELLS, MIN_SHARE, cell_shares
from rsmoe.data.rasters.components import label_components


def read_regions(kinds: Tensor, *, number: int, min_pixels: int) -> tuple[Tensor, Tensor]:
    """Regions of hard maps: connected components (8 neighbours), by the rules of change instructions, kind by kind.

    Args:
        kinds: (P, H, W) integers, 0 for no change, 1 .. K for its kind.
        number: K.
        min_pixels: smaller regions are specks: neither counted nor placed.

    Returns:
        named (P, K, 9) float32, 1 for cells that hold at least `MIN_SHARE` of what changed of a kind;
        counts (P, K) float32 of regions.
    """
    maps = kinds.cpu().numpy()
    named = np.zeros((len(maps), number, len(CELLS)), dtype=np.float32)
    counts = np.zeros((len(maps), number), dtype=np.float32)
    for pair, one in enumerate(maps):
        for kind in np.unique(one[one > 0]).tolist():
            labels, counts[pair, kind - 1] = label_components(one == kind, min_pixels=min_pixels)
            named[pair, kind - 1] = cell_shares(labels > 0) >= MIN_SHARE
    return torch.from_numpy(named).to(kinds.device), torch.from_numpy(counts).to(kinds.device)
