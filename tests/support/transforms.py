"""Transforms of tiny pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from rsmoe.data import Sample

SIZE = 48


def picture(seed: int = 0, height: int = SIZE, width: int = SIZE, bands: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)


def make(**more: Any) -> Sample:
    given = {"id": "s", "images": (picture(),), "instruction": "q", "responses": ("a",), "task": "vqa", "source": "toy"}
    return Sample(**(given | more))
