"""Plane figures in metres: x right, y down, angles clockwise from +x as they look in a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

Point = tuple[float, float]
"""``(x, y)`` in metres."""
Polygon = Sequence[Point]
"""Corners in order, not closed."""


def oriented(outline: Polygon, x: float, y: float, angle: float, scale: float = 1.0) -> list[Point]:
    """Place an outline given as (forward, right) at (x, y), its forward axis along ``angle`` radians."""
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    return [(x + f * c - r * s, y + f * s + r * c) for f, r in outline]


def rectangle(x: float, y: float, length: float, width: float, angle: float) -> list[Point]:
    """Corners front left, front right, rear right, rear left of a rectangle whose ``length`` lies along ``angle``."""
    a, b = length / 2, width / 2
    return oriented(((a, -b), (a, b), (-a, b), (-a, -b)), x, y, angle)


def disc(x: float, y: float, radius: float, corners: int = 28) -> list[Point]:
    """Regular polygon that stands for a circle."""
    step = 2 * math.pi / corners
    return [(x + radius * math.cos(i * step), y + radius * math.sin(i * step)) for i in range(corners)]


def sector(x: float, y: float, radius: float, angle: float, opening: float, corners: int = 12) -> list[Point]:
    """Slice of a disc with its tip at (x, y), opening symmetrically about ``angle`` (radians)."""
    turns = [angle + opening * (i / (corners - 1) - 0.5) for i in range(corners)]
    return [(x, y), *((x + radius * math.cos(t), y + radius * math.sin(t)) for t in turns)]


_TURN = np.linspace(0, 2 * np.pi, 56, endpoint=False)
_WAVES = np.arange(1, 13)[:, None]


def blob(rng: np.random.Generator, x: float, y: float, radius: float, rough: float = 0.25) -> list[Point]:
    """Natural closed outline: a stretched circle whose radius wanders by about ``rough`` of itself."""
    weight, start = rng.normal(size=(12, 1)) * rough / _WAVES**1.15, rng.uniform(0, 6.3, (12, 1))
    wander = (weight * np.cos(_WAVES * _TURN + start)).sum(0)
    away = radius * (1 + np.minimum(np.maximum(wander, -0.55), 0.8))
    tilt = float(rng.uniform(0, 6.3))
    outline = zip((away * np.cos(_TURN)).tolist(), (away * np.sin(_TURN) * rng.uniform(0.6, 1.0)).tolist(), strict=True)
    return oriented(tuple(outline), x, y, tilt)


def meander(rng: np.random.Generator, reach: float, swing: float, wavelength: float, points: int = 48) -> np.ndarray:
    """(points, 2) line from x = -reach to x = +reach that swings about y = 0 by about ``swing`` metres."""
    x = np.linspace(-reach, reach, points)
    y = np.zeros(points)
    for share, stretch in ((0.7, 1.0), (0.3, 0.47), (0.12, 0.21)):
        y += share * np.sin(2 * np.pi * x / (wavelength * stretch * rng.uniform(0.85, 1.15)) + rng.uniform(0, 6.3))
    return np.stack([x, y * swing], 1)


def ribbon(line: np.ndarray, width: float | np.ndarray) -> list[Point]:
    """Polygon of the given full ``width`` (a number, or one per point) about a line (N, 2)."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    side = np.stack([-along[:, 1], along[:, 0]], 1) * (np.asarray(width) / 2 * np.ones(len(line)))[:, None]
    return [(a, b) for a, b in np.concatenate([line + side, (line - side)[::-1]]).tolist()]


def strip(line: np.ndarray, width: np.ndarray) -> list[list[Point]]:
    """The same as quadrilaterals, one per step of the line: where a wide ribbon overlaps itself it stays whole."""
    edge = ribbon(line, width)
    left, right = edge[: len(line)], edge[len(line) :][::-1]
    return [[left[k], left[k + 1], right[k + 1], right[k]] for k in range(len(line) - 1)]


def straight(x1: float, y1: float, x2: float, y2: float, width: float) -> list[Point]:
    """Rectangle of the given width about the segment from (x1, y1) to (x2, y2)."""
    length, angle = math.hypot(x2 - x1, y2 - y1), math.atan2(y2 - y1, x2 - x1)
    return rectangle((x1 + x2) / 2, (y1 + y2) / 2, length, width, angle)


def dashes(x1: float, y1: float, x2: float, y2: float, width: float, dash: float, gap: float) -> Iterator[list[Point]]:
    """Rectangles of a broken line from (x1, y1) to (x2, y2)."""
    length, angle = math.hypot(x2 - x1, y2 - y1), math.atan2(y2 - y1, x2 - x1)
    c, s = math.cos(angle), math.sin(angle)
    at = dash / 2
    while at < length:
        yield rectangle(x1 + at * c, y1 + at * s, dash, width, angle)
        at += dash + gap


def touches(polygon: Polygon, x: float, y: float, radius: float) -> bool:
    """Whether (x, y), or one of eight points ``radius`` away from it, lies in the polygon (crossing-number rule)."""
    xs, ys = [p[0] for p in polygon], [p[1] for p in polygon]
    if x + radius < min(xs) or x - radius > max(xs) or y + radius < min(ys) or y - radius > max(ys):
        return False
    turn = np.arange(8) * (np.pi / 4)
    px = np.append(x, x + radius * np.cos(turn))[:, None]
    py = np.append(y, y + radius * np.sin(turn))[:, None]
    a = np.asarray(polygon)
    b = np.roll(a, -1, axis=0)
    crosses = (a[:, 1] > py) != (b[:, 1] > py)
    rise = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])
    left = px < a[:, 0] + (py - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise
    return bool(((crosses & left).sum(1) % 2 == 1).any())
