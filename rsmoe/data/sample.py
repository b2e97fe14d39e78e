"""One request on one image, or on several dates of it, with its references."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TASKS = ("caption", "vqa", "change_caption", "mask", "retrieval")
"""Every task that has an expert. The position of a name is the task index in `Batch.task`."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of any dataset.

    Images are T paths, or arrays (H, W, C) uint8. Masks are (H, W) bool of the first image's size. Boxes are float
    pixels ``x1 y1 x2 y2`` of the original image.
    """

    id: str
    """Unique within its dataset and split, stable over runs; the key of predictions."""
    images: tuple[Path | np.ndarray, ...]
    """T images, in temporal order."""
    instruction: str
    responses: tuple[str, ...]
    """At least one reference. Training draws one of them a step, metrics use all."""
    task: str
    """One of `TASKS`."""
    source: str
    """Name of the dataset it comes from."""
    kind: str = ""
    """Finer type within the task: question type ("presence", "count" ...), "changed" / "unchanged", object class."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier (question, answer) turns."""
    mask: np.ndarray | None = None
    """(H, W) bool target of a "mask" task."""
    boxes_px: np.ndarray | None = None
    """(n, 4) float32."""
    directional: bool = False
    """True when instruction or responses hold direction words (left, north ...): then the image is never mirrored."""
    meta: dict[str, Any] = field(default_factory=dict)
    """gsd_m, sensor, place, scene class: whatever the release carries."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            from rsmoe.errors import unknown_name

            raise unknown_name("task", self.task, TASKS)
        if not self.images or not self.responses:
            raise ValueError(f"sample {self.id!r} of {self.source!r} needs at least one image and one response")
