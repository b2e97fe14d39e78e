"""One request on one image, or on several dates of it, with its references."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rsmoe.data.tasks import find_task

if TYPE_CHECKING:
    from rsmoe.data.boxes.region import Region
    from rsmoe.geo.georeference import Georeference


class Lazy(Protocol):
    """An array that is read when it is needed: a window of a raster, a run-length or colour-coded mask."""

    @property
    def key(self) -> str:
        """The same for the same content, within a process and over processes."""

    def read(self) -> np.ndarray:
        """The array; raises `rsmoe.errors.UserError` when it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of any dataset.

    Images are T paths, arrays (H, W, C) uint8, or `Lazy` ones. Masks and class maps are (H, W) of the first image's
    size, arrays or `Lazy`. Boxes are float pixels of the original image, whatever the release writes.
    """

    id: str
    """Unique within its dataset and split, stable over runs; the key of predictions."""
    images: tuple[Path | np.ndarray | Lazy, ...]
    """T images, in temporal order."""
    instruction: str
    responses: tuple[str, ...]
    """At least one reference. Training draws one of them a step, metrics use all."""
    task: str
    """The name of a yaml of ``conf/task``, see `rsmoe.data.tasks`."""
    source: str
    """Name of the dataset it comes from."""
    kind: str = ""
    """Finer type within the task: question type ("presence", "count" ...), "changed" / "unchanged", object class."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier (question, answer) turns."""
    mask: np.ndarray | Lazy | None = None
    """(H, W) bool target of a "mask" task; the union, where there are several."""
    masks: tuple[np.ndarray | Lazy, ...] = ()
    """(H, W) bool each, of several targets; () where ``mask`` is the only one. Where the responses hold several [SEG],
    one for each of them."""
    every: bool = False
    """True where the mask is of every thing of a kind: then the same can be asked of any part of the picture."""
    class_map: np.ndarray | Lazy | None = None
    """(H, W) uint8 index into ``classes``, 255 where nothing is known and nothing is scored."""
    classes: tuple[str, ...] = ()
    """Names of the values of ``class_map``."""
    boxes_px: np.ndarray | None = None
    """(n, 4) float32 ``x1 y1 x2 y2``, horizontal boxes."""
    obb_px: np.ndarray | None = None
    """(n, 5) float32 ``cx cy w h angle_deg``, oriented boxes; the angle turns the x axis towards the y axis, which is
    clockwise to the eye, for y points down."""
    labels: tuple[str, ...] = ()
    """Class names of the n boxes, where they are known."""
    region: Region | None = None
    """What the request is about, where that is a part of the first image; its words hold
    `rsmoe.data.boxes.region.REGION` where the box is to be written, under ``meta["box_convention"]``."""
    georeference: Georeference | None = None
    """Where the first image lies on the earth."""
    directional: bool = False
    """True when instruction or responses hold direction words (left, north ...): then the image is never mirrored."""
    meta: dict[str, Any] = field(default_factory=dict)
    """gsd_m, sensor, place, scene class: whatever the release carries. ``days``: when each image was taken, in days."""

    def __post_init__(self) -> None:
        find_task(self.task)
        if not self.images or not self.responses:
            raise ValueError(f"sample {self.id!r} of {self.source!r} needs at least one image and one response")
