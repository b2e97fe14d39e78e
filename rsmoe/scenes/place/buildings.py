"""Things with walls: houses, flat buildings, warehouses, storage tanks and greenhouses."""

from __future__ import annotations

import math

from rsmoe.scenes.place.geometry import Point, disc, oriented, rectangle, sector
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.thing import Layer, Shape, Thing
from rsmoe.scenes.render.palette import COLORS, Color

HOUSE_COLORS = ("red", "brown", "gray", "gray", "black", "beige", "orange")
"""Roof colours of houses; each entry is equally likely."""
HALL_COLORS = ("white", "gray", "gray", "blue", "beige", "brown", "green", "red")
"""Roof colours of halls; each entry is equally likely."""


def _standing(
    place: Place, noun: str, color: str, shapes: list[Shape], x: float, y: float, heading: float, plot: list[Point],
    kind: int = 1,
) -> Thing:  # fmt: skip
    return Thing(
        noun=noun, shapes=tuple(shapes), layer=Layer.HIGH, counted=True, color=color, heading=heading, middle=(x, y),
        appear="built", vanish="demolished", kind=kind, plot=plot, bare=place.bare,
    )  # fmt: skip


def _varied(place: Place, color: str, spread: float = 0.09) -> Color:
    """The colour of one roof: weathered a little more or less than its neighbours."""
    gain = 1 + spread * float(place.rng.normal())
    shift = float(place.rng.normal()) * 0.025
    red, green, blue, nir = COLORS[color]
    return min(red * gain * (1 + shift), 240), min(green * gain, 238), min(blue * gain * (1 - shift), 236), nir * gain


def _hip(
    x: float, y: float, length: float, width: float, angle: float, tone: Color, height: float, hip: float, pitch: float
) -> list[Shape]:
    """Four faces of a roof whose ridge runs along ``angle``; ``hip`` 0 gives a gable, 1 a full hip."""
    a, b = length / 2, width / 2
    r = a - min(b * hip, a * 0.8)
    s = math.sin(pitch)
    c, n = math.cos(angle), math.sin(angle)
    faces: list[tuple[list[Point], tuple[float, float]]] = [
        ([(a, -b), (r, 0), (-r, 0), (-a, -b)], (0, -1)),
        ([(a, b), (r, 0), (-r, 0), (-a, b)], (0, 1)),
    ]
    if hip:
        faces += [([(a, -b), (a, b), (r, 0)], (1, 0)), ([(-a, -b), (-a, b), (-r, 0)], (-1, 0))]
    return [
        Shape(oriented(face, x, y, angle), "roof", tone, height, ((f * c - t * n) * s, (f * n + t * c) * s))
        for face, (f, t) in faces
    ]


def house(place: Place, x: float, y: float, heading: float, scale: float = 1.0) -> Thing:
    """A family house under a gable or hip roof, often with a wing; its front looks along ``heading``."""
    color = place.pick(HOUSE_COLORS)
    tone = _varied(place, color)
    length, width = place.between(10, 15) * scale, place.between(7.5, 10) * scale
    height, hip, pitch = place.between(4, 7), float(place.chance(0.6)), math.radians(place.between(18, 32))
    ridge = heading + math.pi / 2
    shapes = []
    if place.chance(0.55):
        side, out = place.either(1, -1) * length * 0.26, width * 0.5
        wing = oriented(((out, side),), x, y, heading)[0]
        shapes += _hip(*wing, width * 1.0, width * 0.72, heading, tone, height - 0.6, hip, pitch)
    shapes += _hip(x, y, length, width, ridge, tone, height, hip, pitch)
    if place.resolves(1.0, 2):
        chimney = oriented(((place.between(-2, 2), place.between(-3, 3)),), x, y, heading)[0]
        shapes.append(Shape(rectangle(*chimney, 0.9, 0.9, heading), "roof", COLORS["brown"], height + 1.5))
    plot = rectangle(x, y, width * 2.1, length * 1.12, heading)
    return _standing(place, "house", color, shapes, x, y, heading, plot)


def building(place: Place, x: float, y: float, heading: float, length: float, width: float, height: float) -> Thing:
    """A flat-roofed block with parapet and machines on its roof; its long side lies along ``heading``."""
    color = place.pick(("gray", "gray", "white", "beige", "brown"))
    tone = _varied(place, color)
    dark: Color = (tone[0] * 0.86, tone[1] * 0.86, tone[2] * 0.87, tone[3] * 0.86)
    rim = min(1.0, width / 12)
    shapes = [
        Shape(rectangle(x, y, length, width, heading), "roof", tone, height + 0.75),
        Shape(rectangle(x, y, length - 2 * rim, width - 2 * rim, heading), "roof", dark, height),
    ]
    if place.chance(0.5):
        part = place.between(0.3, 0.55)
        at = oriented((((1 - part) / 2 * length * place.either(1, -1), 0),), x, y, heading)[0]
        shapes.append(Shape(rectangle(*at, length * part - rim, width - 2 * rim, heading), "roof",
                            _varied(place, color, 0.12), height + place.between(1.5, 4)))  # fmt: skip
    for _ in range(int(place.rng.integers(1, 6))):
        size = place.between(1.5, 4)
        at = oriented(((place.between(-0.4, 0.4) * length, place.between(-0.36, 0.36) * width),), x, y, heading)[0]
        tint = COLORS[place.pick(("white", "gray", "silver"))]
        shapes.append(Shape(rectangle(*at, size, size * 0.7, heading), "roof", tint, height + place.between(2, 4.5)))
    plot = rectangle(x, y, length * 1.04 + 1, width * 1.04 + 1, heading)
    return _standing(place, "building", color, shapes, x, y, heading, plot)


def warehouse(place: Place, x: float, y: float, heading: float, length: float, width: float) -> Thing:
    """An industrial hall under a row of low gables with skylights; ridges along ``heading``."""
    color = place.pick(HALL_COLORS)
    tone = _varied(place, color)
    bays = max(1, round(width / place.between(14, 26)))
    bay, height, pitch = width / bays, place.between(7, 12), math.radians(place.between(6, 13))
    lights = place.chance(0.6)
    pale: Color = (tone[0] * 0.5 + 112, tone[1] * 0.5 + 112, tone[2] * 0.5 + 114, tone[3] * 0.5 + 100)
    shapes = []
    for number in range(bays):
        at = oriented(((0, (number + 0.5) * bay - width / 2),), x, y, heading)[0]
        shapes += _hip(*at, length, bay, heading, tone, height, 0.0, pitch)
        if lights and place.resolves(1.5, 1.4):
            step = length / max(2, round(length / 9))
            spots = [-length / 2 + step * (k + 0.5) for k in range(round(length / step))]
            for spot in spots:
                strip = oriented(((spot, 0),), *at, heading)[0]
                shapes.append(Shape(rectangle(*strip, 1.1, bay * 0.62, heading), "roof", pale, height))
    plot = rectangle(x, y, length + 2, width + 2, heading)
    return _standing(place, "warehouse", color, shapes, x, y, heading, plot)


def tank(place: Place, x: float, y: float, radius: float) -> Thing:
    """A cylindrical storage tank under a cone roof, or under a floating roof that lies below the rim."""
    color = place.pick(("white", "white", "white", "gray", "beige", "brown", "green"))
    tone = _varied(place, color, 0.05)
    height = place.between(0.35, 0.6) * radius + 5
    wall: Color = (tone[0] * 0.8, tone[1] * 0.8, tone[2] * 0.8, tone[3] * 0.8)
    shapes = [Shape(disc(x, y, radius), "roof", wall, height)]
    if place.chance(0.3):
        shapes.append(Shape(disc(x, y, radius * 0.95), "roof", _varied(place, color, 0.1), height - 0.3 * radius))
        spoke = place.between(0, 6.3)
        ladder = oriented(((0.48 * radius, 0),), x, y, spoke)[0]
        shapes.append(
            Shape(rectangle(*ladder, radius * 0.9, radius * 0.07, spoke), "roof", wall, height - 0.2 * radius)
        )
    else:
        for face in range(12):
            turn = (face + 0.5) * math.pi / 6
            slope = (math.cos(turn) * 0.1, math.sin(turn) * 0.1)
            slice_ = sector(x, y, radius * 0.97, turn, math.pi / 6 + 0.02, 4)
            shapes.append(Shape(slice_, "roof", tone, height, slope))
        shapes.append(Shape(disc(x, y, radius * 0.1, 8), "roof", wall, height + 1))
    return _standing(place, "storage tank", color, shapes, x, y, 0.0, disc(x, y, radius * 1.15, 20), kind=5)


def greenhouse(place: Place, x: float, y: float, heading: float, length: float, width: float) -> Thing:
    """Film tunnels side by side."""
    spans = max(2, round(width / 8))
    pitch = width / spans
    shapes = []
    for number in range(spans):
        at = oriented(((0, (number + 0.5) * pitch - width / 2),), x, y, heading)[0]
        for face in _hip(*at, length, pitch, heading, (206, 211, 208, 206), 3.5, 0.0, math.radians(24)):
            shapes.append(face._replace(material="film"))
    plot = rectangle(x, y, length + 2, width + 2, heading)
    return _standing(place, "greenhouse", "white", shapes, x, y, heading, plot)
