"""Semantic localisation: how well a heat map points at the regions that a sentence is about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from rsmoe.data.rasters.polygons import fill_polygon
from rsmoe.metrics.metric import Protocol

PROTOCOL = Protocol(
    id="selo/air-slt@1",
    title="semantic localisation",
    sentence="Rsu = 1 - exp(-0.707 mean inside / mean outside). Attention centres are maxima of 0.5 or more of the map "
    "after five box blurs of 50/256 of the smallest tile, the greatest within 1000/256 of it. A region's offset is "
    "the distance of the nearest centre to its middle over its radius, 1.5 x the mean distance of its corners, at "
    "most 1: "
    "Ras = (exp(3 x) - 1) / (exp(3) - 1) of the mean offset x, lower is better. Rda is the mean over regions of 0 "
    "without a centre within the radius, 1 with one, else 0.5 (1 - mean spread / radius) + exp(-0.5 (n + 2)). "
    "Rmi = 0.4 Rsu + 0.35 (1 - Ras) + 0.25 Rda.",
    source="Yuan et al., Learning to Evaluate Performance of Multi-modal Semantic Localization, arXiv 2209.06515, as "
    "GeoRSCLIP's repository applies it; distances in tiles, for pictures of any scale, are ours",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """The four indicators of one map, 0 to 1."""

    rsu: float
    """Significant area: how much more of the map lies inside the regions."""
    ras: float
    """Attention shift; lower is better."""
    rda: float
    """Discrete attention: one centre a region."""
    rmi: float
    """All of them."""


def localisation(heat: np.ndarray, regions: Sequence[np.ndarray], *, tile_px: float = 256) -> Localisation:
    """The indicators of one map.

    Args:
        heat: (H, W), 0 to 1.
        regions: (n, 2) ``x y`` corners of each polygon, one at least, none of them empty or all of the picture.
        tile_px: side of the smallest tile that the map was made of: lengths of the protocol are for 256.
    """
    inside = np.zeros(heat.shape, bool)
    for region in regions:
        fill_polygon(inside, region)
    outside = float(heat[~inside].mean())
    rsu = 1 - math.exp(-0.707 * float(heat[inside].mean()) / max(outside, 1e-7))
    centres = attention_centres(heat, tile_px=tile_px)
    offsets, single = [], []
    for region in regions:
        middle = region.mean(0)
        radius = 1.5 * float(np.linalg.norm(region - middle, axis=1).mean())
        away = np.linalg.norm(centres - middle, axis=1)
        offsets.append(min(1.0, float(away.min()) / radius) if len(away) else 1.0)
        own = centres[away <= radius]
        spread = float(np.linalg.norm(own - own.mean(0), axis=1).mean()) if len(own) else 0.0
        many = 0.5 * (1 - spread / radius) + math.exp(-0.5 * (len(own) + 2))
        single.append(float(len(own)) if len(own) < 2 else many)
    ras = (math.exp(3 * float(np.mean(offsets))) - 1) / (math.exp(3) - 1)
    rda = float(np.mean(single))
    return Localisation(rsu=rsu, ras=ras, rda=rda, rmi=0.4 * rsu + 0.35 * (1 - ras) + 0.25 * rda)


def attention_centres(heat: np.ndarray, *, tile_px: float = 256) -> np.ndarray:
    """(n, 2) ``x y`` of the maxima of a map, see `PROTOCOL`; a plateau counts once, at its middle."""
    smooth = np.asarray(heat, np.float64)
    for _ in range(5):
        smooth = ndimage.uniform_filter(smooth, size=max(1, round(50 * tile_px / 256)), mode="nearest")
    window = max(3, round(1000 * tile_px / 256))
    highest = ndimage.maximum_filter(smooth, size=window, mode="nearest")
    labels, count = ndimage.label((smooth >= highest - 1e-9) & (smooth >= 0.5))
    middles = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
    return np.array([(x, y) for y, x in middles], np.float64).reshape(-1, 2)
