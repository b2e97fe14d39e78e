"""What the tiles of a picture say of one request, as one answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rsmoe.geo.strips import thinned


@dataclass(frozen=True, kw_only=True)
class TiledAnswer:
    """What the tiles of a picture say of one request, as one answer. H, W of the picture."""

    valid: Any
    """(H, W) bool: there is data; an array, or what is cut like one."""
    mask: Any = None
    """(H, W) bool, likewise; None where no tile answers with a mask."""
    numbers: np.ndarray
    """(n,) the number, from 1, of each thing of the mask, a connected region, in the order of
    `rsmoe.geo.geojson.map_features`; those of the highest sum of probabilities first."""
    scores: np.ndarray
    """(n,) the mean probability inside of each thing."""
    boxes: np.ndarray | None = None
    """(m, 4) or (m, 5) in pixels, of words or around the things of a head that locates, in their order; None without
    any."""
    box_scores: tuple[float, ...] = ()
    """(m,) of each box: the probability of an answer's token (geometric mean), or the score of its thing."""
    tiles: int
    """Number of tiles that were asked."""
    tile_px: int
    """Side of a tile in pixels of the picture."""

    def places(self, shape: tuple[int, int]) -> dict[str, Any]:
        """The fields of a `rsmoe.evaluation.reply.Reply` that say where things are.

        Args:
            shape: (h, w) of the picture as it is shown, to which the mask is thinned.
        """
        mask = None if self.mask is None else thinned(self.mask, shape)
        masks = () if mask is None else (mask,)
        return {"mask": mask, "masks": masks, "boxes": self.boxes, "box_scores": self.box_scores}
