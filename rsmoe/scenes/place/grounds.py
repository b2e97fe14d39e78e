"""Things that lie flat: sports grounds, swimming pools and solar arrays."""

from __future__ import annotations

import math

from rsmoe.scenes.place.geometry import Point, disc, oriented, rectangle, sector
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.thing import Layer, Shape, Thing
from rsmoe.scenes.render.palette import Color

_GREEN: Color = (78, 116, 86, 112)
_CLAY: Color = (158, 92, 68, 150)
_BLUE: Color = (76, 108, 146, 104)
COURTS: dict[str, tuple[Color, Color]] = {
    "green": (_GREEN, _CLAY), "red": (_CLAY, _GREEN), "blue": (_BLUE, _GREEN),
}  # fmt: skip
"""Colour of the playing area (which names the court) and of the run-off around it."""


def _flat(
    place: Place, noun: str, color: str, shapes: list[Shape], x: float, y: float, heading: float, plot: list[Point]
) -> Thing:
    return Thing(
        noun=noun, shapes=tuple(shapes), layer=Layer.LOW, counted=True, color=color, heading=heading, middle=(x, y),
        appear="built", vanish="demolished", kind=5, plot=plot, bare=place.bare,
    )  # fmt: skip


def _frame(x: float, y: float, length: float, width: float, angle: float, line: float) -> list[Shape]:
    """Four painted lines around a rectangle."""
    a, b = length / 2, width / 2
    middles = oriented(((a, 0), (-a, 0), (0, b), (0, -b)), x, y, angle)
    sizes = ((line, width), (line, width), (length, line), (length, line))
    return [
        Shape(rectangle(*at, long, wide, angle), "court paint") for at, (long, wide) in zip(middles, sizes, strict=True)
    ]


def _line(place: Place) -> float:
    """Width of painted lines: a hand's breadth, but never below what the camera can see."""
    return max(0.12, 0.42 * place.gsd_m)


def tennis_court(place: Place, x: float, y: float, heading: float) -> Thing:
    """Run-off 36 x 18 m, court 23.8 x 11 m with its lines and net."""
    color = place.pick(COURTS)
    inner, outer = COURTS[color]
    line = _line(place)
    outline = rectangle(x, y, 35, 17.5, heading)
    shapes = [
        Shape(outline, "court", outer), Shape(rectangle(x, y, 23.8, 11, heading), "court", inner),
        *_frame(x, y, 23.8, 11, heading, line),
    ]  # fmt: skip
    for across in (-4.1, 4.1):
        shapes.append(Shape(rectangle(*oriented(((0, across),), x, y, heading)[0], 23.8, line, heading), "court paint"))
    for along in (-6.4, 6.4):
        shapes.append(Shape(rectangle(*oriented(((along, 0),), x, y, heading)[0], line, 8.2, heading), "court paint"))
    shapes.append(Shape(rectangle(x, y, 12.8, line, heading), "court paint"))
    shapes.append(Shape(rectangle(x, y, 0.3, 12.8, heading), "court", (60, 62, 60, 60), 1.0))
    return _flat(place, "tennis court", color, shapes, x, y, heading, outline)


def basketball_court(place: Place, x: float, y: float, heading: float) -> Thing:
    """28 x 15 m with zones, centre circle and three-point arcs."""
    color = place.pick(COURTS)
    inner, outer = COURTS[color]
    line = _line(place)
    outline = rectangle(x, y, 31, 18, heading)
    shapes = [Shape(outline, "court", outer), Shape(rectangle(x, y, 28, 15, heading), "court", inner)]
    for side in (-1, 1):
        basket = oriented(((side * 12.4, 0),), x, y, heading)[0]
        facing = heading if side < 0 else heading + math.pi
        shapes.append(Shape(sector(*basket, 6.75, facing, math.pi, 16), "court paint"))
        shapes.append(Shape(sector(*basket, 6.75 - line, facing, math.pi, 16), "court", inner))
        key = oriented(((side * 11.1, 0),), x, y, heading)[0]
        shapes.append(Shape(rectangle(*key, 5.8, 4.9, heading), "court", outer))
        shapes += _frame(*key, 5.8, 4.9, heading, line)
    shapes += [Shape(disc(x, y, 1.8, 16), "court paint"), Shape(disc(x, y, 1.8 - line, 16), "court", outer)]
    shapes += [Shape(rectangle(x, y, line, 15, heading), "court paint"), *_frame(x, y, 28, 15, heading, line)]
    return _flat(place, "basketball court", color, shapes, x, y, heading, outline)


def football_field(place: Place, x: float, y: float, heading: float, length: float, track: bool) -> Thing:
    """A pitch mown in stripes, with its lines; ``track`` adds the oval running track around it."""
    width, line = length * 0.64, max(0.15, 0.5 * place.gsd_m)
    shapes = []
    outline = rectangle(x, y, length * 1.08, width * 1.1, heading)
    if track:
        turf = _oval(x, y, length * 0.82, width * 1.24, heading)
        outline = _oval(x, y, length * 0.82, width * 1.24 + 0.16 * length, heading)
        shapes += [Shape(outline, "court", _CLAY if place.chance(0.75) else _BLUE), Shape(turf, "turf")]
    shapes.append(Shape(rectangle(x, y, length * 1.04, width * 1.06, heading), "turf"))
    stripes = int(place.rng.integers(8, 15))
    for number in range(0, stripes, 2):
        at = oriented((((number + 0.5) / stripes * length - length / 2, 0),), x, y, heading)[0]
        shapes.append(Shape(rectangle(*at, length / stripes, width, heading), "turf", (82, 110, 64, 166)))
    radius = length * 0.087
    shapes += [Shape(disc(x, y, radius), "court paint"), Shape(disc(x, y, radius - line), "turf", (72, 100, 56, 162))]
    shapes += [Shape(rectangle(x, y, line, width, heading), "court paint"), *_frame(x, y, length, width, heading, line)]
    for side in (-1, 1):
        box = oriented(((side * length * 0.421, 0),), x, y, heading)[0]
        shapes += _frame(*box, length * 0.158, width * 0.59, heading, line)
    return _flat(place, "football field", "green", shapes, x, y, heading, outline)


def _oval(x: float, y: float, length: float, width: float, heading: float) -> list[Point]:
    """Rectangle of ``length`` with a half disc of diameter ``width`` on either end."""
    a, r = length / 2, width / 2
    turns = [math.pi * (k / 12 - 0.5) for k in range(13)]
    front = [(a + r * math.cos(t), r * math.sin(t)) for t in turns]
    return oriented(front + [(-f, -s) for f, s in front], x, y, heading)


def baseball_diamond(place: Place, x: float, y: float, heading: float, radius: float) -> Thing:
    """A quarter disc of grass with its dirt infield, home plate at (x, y), opening along ``heading``."""
    dirt, line = radius * 0.36, max(0.12, 0.3 * place.gsd_m)
    outline = sector(x, y, radius, heading, math.pi / 2 + 0.12, 14)
    shapes = [Shape(outline, "turf"), Shape(sector(x, y, dirt * 1.42, heading, math.pi / 2 + 0.2, 14), "infield")]
    square = oriented(((dirt * 0.66, 0),), x, y, heading)[0]
    shapes.append(Shape(rectangle(*square, dirt * 0.78, dirt * 0.78, heading + math.pi / 4), "turf"))
    shapes.append(Shape(disc(*square, dirt * 0.11, 10), "infield"))
    shapes.append(Shape(disc(x, y, dirt * 0.2, 12), "infield"))
    for side in (-1, 1):
        angle = heading + side * math.pi / 4
        foul = oriented(((radius * 0.49, 0),), x, y, angle)[0]
        shapes.append(Shape(rectangle(*foul, radius * 0.97, line, angle), "court paint"))
    return _flat(place, "baseball diamond", "", shapes, x, y, heading, outline)


def pool(place: Place, x: float, y: float, heading: float, length: float) -> Thing:
    """A swimming pool, square-cut or round-cornered, in its paved surround."""
    width = length * place.between(0.42, 0.6)
    rim = min(1.2, length * 0.15)
    outline = rectangle(x, y, length + 2 * rim, width + 2 * rim, heading)
    if place.chance(0.5):
        water = rectangle(x, y, length, width, heading)
    else:
        water = _oval(x, y, length - width, width, heading)
    return _flat(
        place, "swimming pool", "blue", [Shape(outline, "concrete"), Shape(water, "pool")], x, y, heading, outline
    )


def solar_array(place: Place, x: float, y: float, heading: float, length: float, rows: int, pitch: float) -> Thing:
    """A block of panel tables in rows along ``heading``, tilted towards its right side."""
    shapes, width = [], pitch * rows
    tilt = (-math.sin(heading) * 0.3, math.cos(heading) * 0.3)
    for row in range(rows):
        at = oriented(((0, (row + 0.5) * pitch - width / 2),), x, y, heading)[0]
        table = rectangle(*at, length, pitch * 0.62, heading)
        shapes.append(Shape(table, "panel", None, 1.6, tilt))
        if place.resolves(0.35, 0.7):
            shapes.append(Shape(rectangle(*at, length, 0.14, heading), "panel", (96, 104, 120, 104), 1.6, tilt))
    outline = rectangle(x, y, length + 1, width, heading)
    return _flat(place, "solar array", "", shapes, x, y, heading, outline)
