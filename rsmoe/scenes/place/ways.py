"""Roads, runways, bridges, piers, roundabouts and parking bays."""

from __future__ import annotations

import math

import numpy as np

from rsmoe.scenes.place.geometry import Polygon, dashes, disc, oriented, rectangle, ribbon, straight
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.thing import Layer, Shape, Thing
from rsmoe.scenes.place.vehicles import car, truck

_YELLOW = (196, 168, 84, 186)


def street(place: Place, x1: float, y1: float, x2: float, y2: float, width: float, walk: float = 0.0) -> None:
    """A straight street between two points, with pavements ``walk`` metres wide.

    Pavements lie one layer below the asphalt, so that they never close a crossing.
    """
    if walk:
        place.paint(straight(x1, y1, x2, y2, width + 2 * walk), "concrete", Layer.PLOT)
    place.paint(straight(x1, y1, x2, y2, width), "asphalt", Layer.ROAD)


def centre_line(place: Place, x1: float, y1: float, x2: float, y2: float, solid: bool = False) -> None:
    """Lane marking in the middle of a street, where the camera resolves it."""
    if place.gsd_m > 0.9:
        return
    width = max(0.15, 0.45 * place.gsd_m)
    pieces: list[Polygon] = (
        [straight(x1, y1, x2, y2, width)] if solid else list(dashes(x1, y1, x2, y2, width, 3.0, 5.0))
    )
    color = _YELLOW if solid else None
    for piece in pieces:
        if place.sees(*piece[0], 5.0) or solid:
            place.paint(piece, "paint", Layer.MARKING, color)


def road_project(place: Place, points: list[tuple[float, float]], width: float, standing: bool, material: str) -> None:
    """A road that may be built, or taken up, between two dates, with its verge."""
    line = np.array(points)
    shape = Shape(ribbon(line, width), material)
    middle = points[len(points) // 2]
    place.add(
        Thing(noun="road", shapes=(shape,), layer=Layer.ROAD, middle=middle, appear="built",
              vanish="demolished", kind=2, plot=ribbon(line, width + 2), bare=place.bare),
        standing,
    )  # fmt: skip


def winding_road(place: Place, line: np.ndarray, width: float, material: str = "asphalt") -> None:
    """A road along a line (N, 2), with a centre line where the camera resolves it."""
    place.paint(ribbon(line, width + 2.4), "gravel" if material == "asphalt" else "soil", Layer.PLOT)
    place.paint(ribbon(line, width), material, Layer.ROAD)
    if material == "asphalt" and place.gsd_m < 0.9 and width > 5:
        place.paint(ribbon(line, max(0.15, 0.45 * place.gsd_m)), "paint", Layer.MARKING)


def traffic(place: Place, x1: float, y1: float, x2: float, y2: float, width: float, spacing: float) -> None:
    """Cars and trucks that may be under way on a street, keeping to the right."""
    if not place.resolves(4.6, 4.5):
        return
    length, angle = math.hypot(x2 - x1, y2 - y1), math.atan2(y2 - y1, x2 - x1)
    for side in (1, -1):
        at = place.between(0, spacing)
        while at < length:
            x, y = oriented(((at, side * width / 4),), x1, y1, angle)[0]
            if place.sees(x, y):
                make = truck if place.chance(0.15) and width > 6 else car
                place.add(make(place, x, y, angle if side > 0 else angle + math.pi))
            at += max(spacing * place.between(0.5, 1.5), 9)


def runway(place: Place, x: float, y: float, heading: float, length: float, width: float) -> Thing:
    """A runway with threshold bars and a broken centre line."""
    outline = rectangle(x, y, length, width, heading)
    shapes = [Shape(rectangle(x, y, length + 14, width + 14, heading), "grass", (120, 116, 88, 140)),
              Shape(outline, "runway")]  # fmt: skip
    line = max(0.9, 0.6 * place.gsd_m)
    start, end = oriented(((-length / 2 + 30, 0), (length / 2 - 30, 0)), x, y, heading)
    shapes += [Shape(piece, "paint") for piece in dashes(*start, *end, line, 30, 20) if place.sees(*piece[0], 40)]
    for side in (-1, 1):
        edge = oriented(((0, side * (width / 2 - 1.2)),), x, y, heading)[0]
        shapes.append(Shape(rectangle(*edge, length, line * 0.8, heading), "paint"))
    for end_ in (-1, 1):
        for bar in range(8):
            across = (bar - 3.5) * width * 0.105
            at = oriented(((end_ * (length / 2 - 16), across),), x, y, heading)[0]
            shapes.append(Shape(rectangle(*at, 22, width * 0.05, heading), "paint"))
    return Thing(
        noun="runway", shapes=tuple(shapes[1:]), layer=Layer.ROAD, counted=True, heading=heading, middle=(x, y)
    )


def bridge(place: Place, x: float, y: float, heading: float, length: float, width: float) -> Thing:
    """A road bridge: deck, parapets and lane marking, some metres above the water."""
    height = place.between(6, 12)
    line = max(0.2, 0.4 * place.gsd_m)
    shapes = [Shape(rectangle(x, y, length, width + 1.6, heading), "bridge", (176, 172, 162, 172), height + 0.8)]
    deck = place.pick(("asphalt", "bridge"))
    shapes.append(Shape(rectangle(x, y, length + 2, width, heading), deck, None, height))
    start, end = oriented(((-length / 2, 0), (length / 2, 0)), x, y, heading)
    if place.gsd_m < 1.4:
        shapes += [Shape(piece, "paint", None, height) for piece in dashes(*start, *end, line, 4, 6)]
    if place.chance(0.3):
        for side in (-1, 1):
            for step in range(int(length / 16)):
                at = oriented(((step * 16 - length / 2 + 8, side * (width / 2 + 0.4)),), x, y, heading)[0]
                shapes.append(Shape(rectangle(*at, 9, 0.8, heading), "bridge", (196, 194, 190, 190), height + 5))
    return Thing(noun="bridge", shapes=tuple(shapes), layer=Layer.DECK, counted=True, heading=heading, middle=(x, y),
                 color="gray")  # fmt: skip


def pier(place: Place, x: float, y: float, heading: float, length: float, width: float) -> Thing:
    """A jetty on piles, reaching from (x, y) along ``heading``."""
    middle = oriented(((length / 2, 0),), x, y, heading)[0]
    outline = rectangle(*middle, length, width, heading)
    wood = place.pick(("deck", "concrete"))
    return Thing(
        noun="pier", shapes=(Shape(outline, wood, None, 1.5),), layer=Layer.HIGH, counted=True, heading=heading,
        middle=middle, appear="built", vanish="demolished", kind=5,
    )  # fmt: skip


def roundabout(place: Place, x: float, y: float, radius: float, width: float) -> Thing:
    """A ring of asphalt about a planted island."""
    shapes = [Shape(disc(x, y, radius + width, 36), "asphalt"), Shape(disc(x, y, radius + 0.5, 32), "concrete"),
              Shape(disc(x, y, radius, 32), "turf")]  # fmt: skip
    if place.chance(0.5):
        shapes.append(Shape(disc(x, y, radius * 0.4, 20), place.pick(("concrete", "infield", "pool"))))
    return Thing(noun="roundabout", shapes=tuple(shapes), layer=Layer.ROAD, counted=True, middle=(x, y))


def parking_rows(
    place: Place, x: float, y: float, heading: float, bays: int, rows: int, lane: float = 6.5, trees: bool = False
) -> None:
    """Bays of 2.6 x 5 m in rows along ``heading``, two rows back to back between lanes, with a car for every bay."""
    depth, wide = 5.0, 2.6
    pitch = 2 * depth + lane
    place.paint(rectangle(x, y, bays * wide + 12, rows * pitch + lane, heading), "parking", Layer.PLOT)
    line = max(0.12, 0.4 * place.gsd_m)
    for row in range(rows):
        middle = (row - (rows - 1) / 2) * pitch
        if trees:
            strip = oriented(((0, middle),), x, y, heading)[0]
            place.paint(rectangle(*strip, bays * wide, 2.4, heading), "lawn", Layer.MARKING)
        for side in (-1, 1):
            across = middle + side * (depth / 2 + (1.2 if trees else 0))
            for bay in range(bays):
                along = (bay - (bays - 1) / 2) * wide
                at = oriented(((along, across),), x, y, heading)[0]
                if not place.sees(*at, 2):
                    continue
                if place.gsd_m < 0.7:
                    mark = oriented(((along - wide / 2, across),), x, y, heading)[0]
                    place.paint(rectangle(*mark, line, depth, heading), "paint", Layer.MARKING)
                nose = heading + (math.pi / 2 if place.chance(0.5) else -math.pi / 2)
                wobble = oriented(((place.between(-0.2, 0.2), place.between(-0.3, 0.3)),), *at, heading)[0]
                place.add(car(place, *wobble, nose))
