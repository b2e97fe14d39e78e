"""Ground truth of one picture, read off the pixels that show each thing."""

from __future__ import annotations

import math

import numpy as np

from rsmoe.scenes.place.place import Place
from rsmoe.scenes.scene import SceneObject

SMALLEST_PX = 4
"""A thing that shows fewer pixels is not an object of the picture."""
SMALLEST_SHARE = 0.12
"""Nor is one of which less than this share of its own extent lies inside the picture."""


def read_objects(place: Place, things: np.ndarray) -> tuple[np.ndarray, tuple[SceneObject, ...]]:
    """Instance map and objects of a map of things.

    Args:
        things: (H, W) int32 index into the place's things, -1 for ground.

    Returns:
        (H, W) uint16 instance map (a thing's index + 1, so both dates of a pair agree on it) and the objects in the
        order of their numbers. Boxes enclose the instance's pixels exactly; oriented boxes do so along its heading.
    """
    counted = np.array([thing.counted for thing in place.things] + [False])
    instances = np.where(counted[things], things + 1, 0).astype(np.uint16)
    rows, columns = np.nonzero(instances)
    numbers = instances[rows, columns]
    if not len(numbers):
        return instances, ()
    order = np.argsort(numbers, kind="stable")
    rows, columns, numbers = rows[order], columns[order], numbers[order]
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
    present = numbers[starts]
    sizes = np.diff(np.r_[starts, len(numbers)])
    heading = np.array([place.things[n - 1].heading for n in present]) + place.turn
    cosine, sine = np.cos(heading), np.sin(heading)
    per_pixel_cos, per_pixel_sin = np.repeat(cosine, sizes), np.repeat(sine, sizes)
    # Forward and right coordinates of pixel centres; half a pixel's extent along a turned axis is added below.
    forward = (columns + 0.5) * per_pixel_cos + (rows + 0.5) * per_pixel_sin
    right = (rows + 0.5) * per_pixel_cos - (columns + 0.5) * per_pixel_sin
    low_x, high_x = np.minimum.reduceat(columns, starts), np.maximum.reduceat(columns, starts) + 1
    low_y, high_y = np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts) + 1
    low_f, high_f = np.minimum.reduceat(forward, starts), np.maximum.reduceat(forward, starts)
    low_r, high_r = np.minimum.reduceat(right, starts), np.maximum.reduceat(right, starts)
    pad = (np.abs(cosine) + np.abs(sine)) / 2
    objects = []
    for k, number in enumerate(present.tolist()):
        thing = place.things[number - 1]
        if sizes[k] < max(SMALLEST_PX, SMALLEST_SHARE * _extent_px(place, number - 1)):
            instances[instances == number] = 0
            continue
        f1, f2, r1, r2 = low_f[k] - pad[k], high_f[k] + pad[k], low_r[k] - pad[k], high_r[k] + pad[k]
        c, s = cosine[k], sine[k]
        corners = ((f2, r1), (f2, r2), (f1, r2), (f1, r1))
        objects.append(
            SceneObject(
                category=thing.noun,
                color=thing.color,
                box_px=(float(low_x[k]), float(low_y[k]), float(high_x[k]), float(high_y[k])),
                obb_px=tuple((float(f * c - r * s), float(f * s + r * c)) for f, r in corners),
                instance=number,
                area_m2=float(sizes[k]) * place.gsd_m**2,
            )
        )
    return instances, tuple(objects)


def _extent_px(place: Place, index: int) -> float:
    """Bounding area of a thing's first shape in pixels, limited to a tenth of the picture (runways have no end)."""
    points = np.array(place.things[index].shapes[0].points)
    span = np.ptp(points, axis=0)
    side = 2 * place.half / place.gsd_m
    return min(float(span[0] * span[1]) / place.gsd_m**2 * 0.5, side * side / math.pi / 10)
