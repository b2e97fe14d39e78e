"""A place on the ground before anyone takes its picture."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from rsmoe.scenes.place.geometry import Polygon, touches
from rsmoe.scenes.place.thing import Layer, Shape, Thing
from rsmoe.scenes.render.palette import MATERIALS, Color


class Place:
    """What layouts write into: the ground, and things in the order in which they are painted within a layer.

    The frame of the place has its origin in the middle of the picture and is turned against it by ``turn`` radians.

    Args:
        rng: source of every choice about the place (not about the day of the picture).
        size_px: side of the picture.
        gsd_m: metres a pixel.
        turn: rotation of the place in the picture, radians.
    """

    def __init__(self, *, rng: np.random.Generator, size_px: int, gsd_m: float, turn: float) -> None:
        self.rng = rng
        self.gsd_m = gsd_m
        self.turn = turn
        self.half = size_px * gsd_m / 2
        self.reach = self.half * 1.5
        self.ground = "grass"
        self.patches: list[tuple[str, float]] = []
        self.relief = ""
        self.relief_m = 0.0
        self.canopy_m = float(rng.uniform(2.2, 4.5))
        self.canopy_shape = 1.7
        self.canopy_jitter = True
        self.needles = float(rng.choice((0.0, 0.3, 1.0)))
        self.density = float(rng.choice((0.05, 0.4, 0.8, 1.2)))
        self.bare = "soil"
        self.things: list[Thing] = []
        self.standing: list[bool] = []
        self._cos, self._sin = math.cos(turn), math.sin(turn)

    def turn_by(self, angle: float) -> None:
        """Turns the place in the picture by so many radians more, with all that stands on it."""
        self.turn += angle
        self._cos, self._sin = math.cos(self.turn), math.sin(self.turn)

    def sees(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether the point, or anything within ``margin`` metres of it, can be in the picture."""
        limit = self.half + margin
        u, v = x * self._cos - y * self._sin, x * self._sin + y * self._cos
        return abs(u) < limit and abs(v) < limit

    def free(self, x: float, y: float, radius: float) -> bool:
        """Whether nothing that stands, no road and no water lies within ``radius`` metres of (x, y)."""
        for thing in self.things:
            if thing.layer in (Layer.WATER, Layer.ROAD, Layer.LOW, Layer.HIGH, Layer.DECK):
                outlines = [thing.plot] if thing.plot else [shape.points for shape in thing.shapes]
                if any(touches(outline, x, y, radius) for outline in outlines):
                    return False
        return True

    def resolves(self, length_m: float, pixels: float = 5.0) -> bool:
        """Whether a thing of this length covers enough pixels to be recognised."""
        return length_m >= pixels * self.gsd_m

    def chance(self, probability: float) -> bool:
        """One random yes or no."""
        return bool(self.rng.random() < probability)

    def pick(self, options: Iterable[str]) -> str:
        """One of the options."""
        choices = tuple(options)
        return choices[int(self.rng.integers(len(choices)))]

    def either(self, first: float, second: float) -> float:
        """One of two numbers, equally likely."""
        return first if self.rng.random() < 0.5 else second

    def between(self, low: float, high: float) -> float:
        """A number from the range."""
        return low + (high - low) * float(self.rng.random())

    def aside(self, share: float) -> float:
        """Metres from the middle, to either side, up to this share of half the picture."""
        return self.between(-share, share) * self.half

    def spot(self, share: float) -> tuple[float, float]:
        """A point so near to the middle: `aside` right and down."""
        return self.aside(share), self.aside(share)

    def fallow(self, *others: str) -> None:
        """Choose what empty plots look like: mostly the ground itself without its trees, or one of ``others``."""
        same = self.ground if MATERIALS[self.ground].trees == 0 else f"treeless {self.ground}"
        plain = same if same in MATERIALS and MATERIALS[same].cover != "water" else "treeless grass"
        self.bare = self.pick(others) if others and self.chance(0.35) else plain

    def add(self, thing: Thing, standing: bool = True) -> None:
        """Put a thing down; ``standing=False`` keeps its plot and leaves it empty."""
        self.things.append(thing)
        self.standing.append(standing)

    def paint(
        self,
        points: Polygon,
        material: str,
        layer: Layer = Layer.GROUND,
        color: Color | None = None,
        height: float = 0.0,
    ) -> None:
        """Paints plain ground, or a fixture that is not counted."""
        self.add(Thing(noun="", shapes=(Shape(points, material, color, height),), layer=layer))

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) metres in the frame of the place to pixels of the picture (0, 0 = outer corner of the first pixel)."""
        turned = points @ np.array([[self._cos, self._sin], [-self._sin, self._cos]])
        return (turned + self.half) / self.gsd_m
