"""Parts of a place: shapes of one material, and things made of shapes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from rsmoe.scenes.place.geometry import Polygon
from rsmoe.scenes.render.palette import Color


class Layer(IntEnum):
    """Order of painting, lowest first."""

    GROUND = 0
    WATER = 1
    PLOT = 2
    ROAD = 3
    MARKING = 4
    FLOOD = 5
    LOW = 6
    HIGH = 7
    DECK = 8
    VEHICLE = 9


class Shape(NamedTuple):
    """A polygon of one material; a later shape covers an earlier one."""

    points: Polygon
    """Metres in the frame of the place."""
    material: str
    color: Color | None = None
    """Replaces the middle colour of the material."""
    height: float = 0.0
    """Metres above the ground; it casts the shadow."""
    slope: tuple[float, float] = (0.0, 0.0)
    """Horizontal part of the unit normal (a roof face looks where it points)."""
    furrow: tuple[float, float] = (0.0, 0.0)
    """Wave vector of furrows in cycles per metre; none at (0, 0)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """Shapes that come and go together."""

    noun: str
    """Category, "" for plain ground."""
    shapes: tuple[Shape, ...]
    layer: Layer
    counted: bool = False
    """Whether it is an object of the ground truth."""
    color: str = ""
    heading: float = 0.0
    """Direction of its front, radians in the frame of the place."""
    middle: tuple[float, float] = (0.0, 0.0)
    mobile: bool = False
    """Vehicles: their coming and going is nuisance, not change."""
    appear: str = ""
    """Action when it is there on the second date only ("built", "flooded", "cleared"); "" if that cannot be."""
    vanish: str = ""
    """Action when it is there on the first date only ("demolished", "drained", "planted"); "" if that cannot be."""
    kind: int = 0
    """Value in a change mask: 1 building, 2 road, 3 water, 4 vegetation, 5 other object."""
    plot: Polygon = ()
    """Ground kept free of trees for it, whether it stands or not."""
    bare: str = ""
    """Material of the plot while it is empty."""
