"""Light and shadow on relief."""

from __future__ import annotations

import math

import numpy as np


def shading(relief_px: np.ndarray, sun: tuple[float, float, float]) -> np.ndarray:
    """Direct light on a relief against that on flat ground (Lambert's cosine law), (N, N) float32 in 0.1-1.8.

    Args:
        relief_px: (N, N) heights in pixels.
        sun: unit vector to the sun (right, down, up).
    """
    right = np.zeros_like(relief_px)
    down = np.zeros_like(relief_px)
    np.subtract(relief_px[:, 2:], relief_px[:, :-2], out=right[:, 1:-1])
    np.subtract(relief_px[2:], relief_px[:-2], out=down[1:-1])
    right *= 0.5
    down *= 0.5
    cosine = sun[2] - sun[0] * right - sun[1] * down
    right *= right
    down *= down
    right += down
    right += 1
    np.sqrt(right, out=right)
    right *= sun[2]
    cosine /= right
    return np.clip(cosine, 0.1, 1.8, out=cosine)


def face_shading(slope: np.ndarray, sun: tuple[float, float, float]) -> np.ndarray:
    """The same for plane faces: (K, 2) horizontal parts of unit normals to (K,) factors."""
    up = np.sqrt(np.maximum(1 - (slope**2).sum(1), 0.05))
    return np.clip((slope @ np.array(sun[:2]) + up * sun[2]) / sun[2], 0.15, 1.7).astype(np.float32)


def shadows(height_px: np.ndarray, sun: tuple[float, float, float]) -> np.ndarray:
    """Cast shadows, (N, N) float32 from 0 (lit) to 1 (dark).

    A pixel is dark if some pixel towards the sun rises above the ray to the sun. The highest of 2, 4, 8 ... pixels on
    the ray is found by doubling: the maximum over 2n steps is that over n steps, and the same seen from n steps on.

    Args:
        height_px: (N, N) heights in pixels.
        sun: unit vector to the sun (right, down, up).
    """
    flat = math.hypot(sun[0], sun[1])
    right, down, rise = sun[0] / flat, sun[1] / flat, sun[2] / flat
    highest = height_px
    longest = min(float(np.ptp(height_px)) / rise, len(height_px) / 2)
    step = 1
    while step / 2 <= longest:
        highest = _with_neighbour(highest, round(step * down), round(step * right), step * rise)
        step *= 2
    dark = highest - height_px
    dark *= 1 / (1.2 * rise)
    return np.clip(dark, 0, 1, out=dark)


def _with_neighbour(field: np.ndarray, down: int, right: int, drop: float) -> np.ndarray:
    """Maximum of a field and of itself (``down``, ``right``) further on, lowered by ``drop``."""
    rows, columns = field.shape
    result = field.copy()
    here = result[max(-down, 0) : rows - max(down, 0), max(-right, 0) : columns - max(right, 0)]
    there = field[max(down, 0) : rows + min(down, 0), max(right, 0) : columns + min(right, 0)]
    np.maximum(here, there - np.float32(drop), out=here)
    return result
