"""Things that move: airplanes, ships, boats, cars and trucks. Whether they are there differs from day to day."""

from __future__ import annotations

from rsmoe.scenes.place.geometry import Polygon, oriented, rectangle
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.thing import Layer, Shape, Thing
from rsmoe.scenes.render.palette import COLORS, Color

CAR_COLORS = ("white", "white", "silver", "gray", "black", "black", "red", "blue", "beige")
"""Colours of cars; each entry is equally likely."""
_GLASS: Color = (44, 48, 54, 46)
# Outlines as (forward, right) for a length of one, drawn after the plan views of airliners and freighters.
_FUSELAGE = ((0.5, 0), (0.47, 0.03), (0.4, 0.048), (-0.25, 0.048), (-0.5, 0.012), (-0.5, -0.012), (-0.25, -0.048),
             (0.4, -0.048), (0.47, -0.03))  # fmt: skip
_WINGS = ((0.16, 0), (0.1, 0.05), (-0.13, 0.47), (-0.2, 0.47), (-0.1, 0.05), (-0.1, -0.05), (-0.2, -0.47),
          (-0.13, -0.47), (0.1, -0.05))  # fmt: skip
_TAIL = ((-0.34, 0.02), (-0.46, 0.18), (-0.51, 0.18), (-0.48, 0), (-0.51, -0.18), (-0.46, -0.18), (-0.34, -0.02))
_HULL = ((0.5, 0), (0.4, 0.05), (0.28, 0.075), (-0.45, 0.078), (-0.5, 0.06), (-0.5, -0.06), (-0.45, -0.078),
         (0.28, -0.075), (0.4, -0.05))  # fmt: skip
_BOAT = ((0.5, 0), (0.3, 0.1), (0.0, 0.16), (-0.48, 0.14), (-0.48, -0.14), (0.0, -0.16), (0.3, -0.1))


def _vehicle(noun: str, color: str, shapes: list[Shape], x: float, y: float, heading: float) -> Thing:
    return Thing(
        noun=noun, shapes=tuple(shapes), layer=Layer.VEHICLE, counted=True, color=color, heading=heading, middle=(x, y),
        mobile=True,
    )  # fmt: skip


def airplane(place: Place, x: float, y: float, heading: float, length: float) -> Thing:
    """An airliner or a small plane, nose along ``heading``."""
    color = place.pick(("white", "white", "white", "silver", "blue"))
    body = COLORS[color]
    wing = tuple(0.9 * c for c in COLORS["white" if color != "silver" else "silver"])

    def part(outline: Polygon, tone: tuple[float, ...], height: float) -> Shape:
        return Shape(oriented(outline, x, y, heading, length), "hull", tone, height)  # type: ignore[arg-type]

    shapes = [part(_WINGS, wing, 0.1 * length), part(_TAIL, wing, 0.13 * length)]
    if place.resolves(length, 14):
        for side in (-1, 1):
            shapes.append(part(oriented(((0.06, -0.022), (0.06, 0.022), (-0.05, 0.018), (-0.05, -0.018)), 0.08,
                                        0.17 * side, 0), (150, 150, 152, 140), 0.08 * length))  # fmt: skip
    shapes.append(part(_FUSELAGE, body, 0.14 * length))
    if place.resolves(length, 18):
        shapes.append(part(((0.475, 0.02), (0.445, 0.032), (0.445, -0.032), (0.475, -0.02)), _GLASS, 0.14 * length))
        fin = COLORS[place.pick(("red", "blue", "white", "green", "orange"))]
        shapes.append(part(((-0.3, 0.008), (-0.52, 0.012), (-0.52, -0.012), (-0.3, -0.008)), fin, 0.26 * length))
    return _vehicle("airplane", color, shapes, x, y, heading)


def ship(place: Place, x: float, y: float, heading: float, length: float) -> Thing:
    """A freighter with its bridge at the stern and holds or stacked containers before it."""
    color = place.pick(("red", "gray", "blue", "white", "black"))
    hull = COLORS[color]
    shapes = [Shape(oriented(_HULL, x, y, heading, length), "hull", hull, 0.05 * length)]
    deck = [(f * 0.965, r * 0.78) for f, r in _HULL]
    tone = place.pick(("red", "brown", "gray", "green")) if color == "black" else color
    pale: Color = tuple(0.55 * c + 0.45 * 128 for c in COLORS[tone])  # type: ignore[assignment]
    shapes.append(Shape(oriented(deck, x, y, heading, length), "deck", pale, 0.05 * length))

    def block(forward: float, right: float, long: float, wide: float, tint: Color, height: float) -> Shape:
        corners = oriented(((forward + long / 2, right - wide / 2), (forward + long / 2, right + wide / 2),
                            (forward - long / 2, right + wide / 2), (forward - long / 2, right - wide / 2)),
                           x, y, heading, length)  # fmt: skip
        return Shape(corners, "hull", tint, height)

    holds = int(place.rng.integers(3, 7))
    stacked = place.chance(0.5)
    pitch = 0.6 / holds
    for number in range(holds):
        forward = -0.24 + pitch * (number + 0.5)
        if stacked and place.resolves(length, 24):
            for lane in (-0.042, -0.014, 0.014, 0.042):
                tint = COLORS[place.pick(("red", "blue", "orange", "gray", "green", "white"))]
                shapes.append(block(forward, lane, pitch * 0.86, 0.026, tint, place.between(0.07, 0.1) * length))
        else:
            tint = COLORS[place.pick(("brown", "gray", "green", "beige"))]
            shapes.append(block(forward, 0, pitch * 0.74, 0.1, tint, 0.065 * length))
    shapes.append(block(-0.36, 0, 0.1, 0.13, COLORS["white"], 0.16 * length))
    shapes.append(block(-0.42, 0, 0.04, 0.05, COLORS[place.pick(("red", "blue", "black", "orange"))], 0.2 * length))
    return _vehicle("ship", color, shapes, x, y, heading)


def boat(place: Place, x: float, y: float, heading: float, length: float, wake: bool = False) -> Thing:
    """A motor or sailing boat, with foam behind it under way."""
    color = place.pick(("white", "white", "white", "blue", "red", "gray"))
    shapes = []
    if wake:
        trail = ((-0.3, 0.08), (-1.2, 0.14), (-2.4, 0.06), (-2.4, -0.06), (-1.2, -0.14), (-0.3, -0.08))
        shapes.append(Shape(oriented(trail, x, y, heading, length), "foam"))
    shapes.append(Shape(oriented(_BOAT, x, y, heading, length), "hull", COLORS[color], 0.12 * length))
    if place.resolves(length, 7):
        inner = [(f * 0.8 - 0.03, r * 0.66) for f, r in _BOAT]
        tone = COLORS[place.pick(("beige", "brown", "gray", "white"))]
        shapes.append(Shape(oriented(inner, x, y, heading, length), "deck", tone, 0.12 * length))
        cabin = ((0.16, -0.08), (0.16, 0.08), (-0.14, 0.1), (-0.14, -0.1))
        shapes.append(Shape(oriented(cabin, x, y, heading, length), "hull", _GLASS, 0.2 * length))
        roof = ((0.1, -0.075), (0.1, 0.075), (-0.12, 0.09), (-0.12, -0.09))
        shapes.append(Shape(oriented(roof, x, y, heading, length), "hull", COLORS["white"], 0.22 * length))
    return _vehicle("boat", color, shapes, x, y, heading)


def car(place: Place, x: float, y: float, heading: float) -> Thing:
    """A car of 4.6 m."""
    color = place.pick(CAR_COLORS)
    tone = COLORS[color]
    shapes = [Shape(rectangle(x, y, 4.6, 1.9, heading), "hull", tone, 0.9)]
    if place.gsd_m < 0.55:
        cabin = ((0.75, -0.8), (0.75, 0.8), (-1.9, 0.8), (-1.9, -0.8))
        shapes.append(Shape(oriented(cabin, x, y, heading), "hull", _GLASS, 1.4))
        roof = ((0.1, -0.72), (0.1, 0.72), (-1.35, 0.72), (-1.35, -0.72))
        shapes.append(Shape(oriented(roof, x, y, heading), "hull", tone, 1.5))
    return _vehicle("car", color, shapes, x, y, heading)


def truck(place: Place, x: float, y: float, heading: float) -> Thing:
    """A lorry of 12 to 16 m: cab and box."""
    color = place.pick(("white", "white", "gray", "red", "blue", "orange"))
    length = place.between(12, 16)
    box = rectangle(x, y, length, 2.6, heading)
    shapes = [Shape(box, "hull", COLORS[color], 3.8)]
    cab = ((length / 2, -1.2), (length / 2, 1.2), (length / 2 - 2.2, 1.2), (length / 2 - 2.2, -1.2))
    gap = ((length / 2 - 2.2, -1.2), (length / 2 - 2.2, 1.2), (length / 2 - 3, 1.2), (length / 2 - 3, -1.2))
    shapes.append(Shape(oriented(gap, x, y, heading), "hull", _GLASS, 1.5))
    tone = COLORS[place.pick(("white", "red", "blue", "gray"))]
    shapes.append(Shape(oriented(cab, x, y, heading), "hull", tone, 3.0))
    return _vehicle("truck", color, shapes, x, y, heading)
