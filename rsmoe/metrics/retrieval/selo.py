"""Semantic localisation: does the map of where a sentence applies point at the regions that it describes?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.data.rasters.components import label_components
from rsmoe.data.rasters.polygons import fill_polygon
from rsmoe.metrics.row_metric import RowMetric
from rsmoe.metrics.tally import Tally, ratio

_BLUR, _BLURS, _WINDOW, _LEAST = 50, 5, 1000, 0.5
_EXPAND, _BETA = 1.5, 0.707

NUMBERS = ("rsu", "rda", "ras", "rmi")


class SeLo(RowMetric):
    """Means over maps of the four indicators of AIR-SLT.

    - ``rsu`` (up): 1 - exp(-0.707 a b), a the probability inside of the regions over that outside, b the area outside
      over that inside;
    - ``ras`` (down): (e^(3 x) - 1) / (e^3 - 1), x the mean over regions of the distance of attention centres to the
      region's centre, in radii, 1 where none is within the radius;
    - ``rda`` (up): mean over regions of 0 and 1 for no and one attention centre within the radius, and for n of them
      (1 - their mean distance to their middle, in radii) / 2 + exp(-(n + 2) / 2);
    - ``rmi`` (up): 0.4 rsu + 0.35 (1 - ras) + 0.25 rda.

    The centre of a region is the mean of its corners, its radius 1.5 times their mean distance to it. Attention centres
    are the maxima of the map within 1000 x 1000 pixels, after five box blurs of 50 x 50, where the map is at least 0.5.

    Yuan et al., "Learning to evaluate performance of multi-modal semantic localization", TGRS 2022;
    https://github.com/xiaoyuan1996/SemanticLocalizationMetrics, SLM.py, which also counts the outline of a polygon as
    inside.

    Args:
        kwargs: of ``torchmetrics.Metric``.
    """

    def update(self, maps: Sequence[np.ndarray], regions: Sequence[Sequence[np.ndarray]]) -> None:
        """Adds a map (H, W) of probabilities 0 to 1 and its regions, each the (k, 2) corners x, y in pixels.

        Raises:
            ValueError: a map without a region, a region without extent, or values outside of 0 to 1.
        """
        self.append(selo_row(*pair) for pair in zip(maps, regions, strict=True))

    def compute(self) -> dict[str, float]:
        """rsu, rda, ras, rmi on the scale 0 to 1, n; raises ValueError when no map was added."""
        return selo_tally(self.rows()).values()


def attention_centres(probability: np.ndarray) -> np.ndarray:
    """(H, W) -> (n, 2) whole x, y of the attention centres."""
    grey = np.asarray(probability * 255, dtype=np.uint8)
    for _ in range(_BLURS):
        grey = _box(grey)
    highest = _maximum(_maximum(grey.T).T)
    labels, n = label_components((highest == grey) & (grey > 0))
    y, x = np.nonzero(labels)
    owner = labels[y, x] - 1
    size = np.bincount(owner, minlength=n)
    middle = np.stack([np.bincount(owner, weights=axis, minlength=n) / size for axis in (x, y)], axis=1).astype(int)
    return middle[probability[middle[:, 1], middle[:, 0]] >= _LEAST]


def selo_row(probability: np.ndarray, regions: Sequence[np.ndarray]) -> list[Any]:
    """One map, as `selo_tally` reads it: rsu, rda, ras, rmi."""
    corners = [np.asarray(region, dtype=np.float64) for region in regions]
    if not corners or not probability.size or probability.min() < 0 or probability.max() > 1:
        raise ValueError("a map needs at least one region, and values from 0 to 1")
    inside = np.zeros(probability.shape, dtype=bool)
    circles = []
    for points in corners:
        fill_polygon(inside, points)
        middle = (points.sum(axis=0) / len(points)).astype(int)
        circles.append((middle, int(np.hypot(*(points - middle).T).mean() * _EXPAND)))
    if not inside.any() or not all(radius for _, radius in circles):
        raise ValueError("a region covers no pixel of the map")
    held = float(probability[inside].sum())
    share = held / (float(probability.sum()) - held + 1e-7) * float((~inside).sum() / inside.sum())
    centres = attention_centres(probability)
    offsets, focus = [], []
    for middle, radius in circles:
        away = np.hypot(*(centres - middle).T)
        near = centres[away <= radius]
        offsets.append(away[away <= radius].mean() / radius if len(near) else 1.0)
        spread = np.hypot(*(near - near.mean(axis=0)).T).mean() / radius if len(near) > 1 else 0.0
        focus.append(0.5 * (1 - spread) + np.exp(-0.5 * (len(near) + 2)) if len(near) > 1 else float(len(near)))
    rsu, rda = 1 - np.exp(-_BETA * share), np.mean(focus)
    ras = np.expm1(3 * np.mean(offsets)) / np.expm1(3)
    return [float(value) for value in (rsu, rda, ras, 0.4 * rsu + 0.35 * (1 - ras) + 0.25 * rda)]


def selo_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `SeLo` from rows of `selo_row`."""
    if not rows:
        raise ValueError("no map was added before compute()")

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        n = sums[..., -1]
        return {**{name: ratio(sums[..., i], n) for i, name in enumerate(NUMBERS)}, "n": n}

    return Tally(rows=np.array([[*row, 1.0] for row in rows]), finish=finish)


def _box(grey: np.ndarray) -> np.ndarray:
    """Mean over 50 x 50 (25 pixels before, 24 behind), mirrored without repeating the border, rounded to uint8."""
    padded = np.pad(grey, ((_BLUR // 2, _BLUR // 2 - 1),) * 2, mode="reflect").astype(np.int64)
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[_BLUR:, _BLUR:] - sums[:-_BLUR, _BLUR:] - sums[_BLUR:, :-_BLUR] + sums[:-_BLUR, :-_BLUR]
    return np.rint(total / _BLUR**2).astype(np.uint8)


def _maximum(grey: np.ndarray) -> np.ndarray:
    """Along the rows, the largest value from 500 before to 499 behind; windows double, two of 512 cover 1000."""
    before, width = _WINDOW // 2, grey.shape[1]
    row = np.pad(grey, ((0, 0), (before, _WINDOW - 1 - before)))
    step = 1
    while 2 * step <= _WINDOW:
        row = np.maximum(row[:, :-step], row[:, step:])
        step *= 2
    return np.maximum(row[:, :width], row[:, _WINDOW - step : _WINDOW - step + width])
