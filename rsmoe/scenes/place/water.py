"""Layouts by the water: rivers, lakes, beaches; and the river bed that bridges need, too."""

from __future__ import annotations

import math

import numpy as np

from rsmoe.scenes.place.buildings import house
from rsmoe.scenes.place.geometry import blob, meander, oriented, strip
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.regions import clearing, flood
from rsmoe.scenes.place.thing import Layer
from rsmoe.scenes.place.vehicles import boat, car, ship
from rsmoe.scenes.place.ways import parking_rows, pier, road_project, winding_road


def river_bed(place: Place, line: np.ndarray, wide: float, water: str) -> None:
    """A river along a line (N, 2), its muddy or sandy banks wandering beside it."""
    rough = 1 + 0.12 * np.convolve(place.rng.normal(size=len(line) + 4), np.ones(5) / 2.2, "valid")
    bank = place.pick(("mud", "sand", "grass", "soil"))
    spread = place.between(0.06, 0.3)
    for width, material in ((wide * (rough + spread) + 4, bank), (wide * rough, water)):
        for piece in strip(line, width):
            if place.sees(*piece[0], wide):
                place.paint(piece, material, Layer.WATER)


def wooded_banks(place: Place, line: np.ndarray, wide: float) -> None:
    """Woods along some stretches of the banks."""
    for _ in range(int(place.rng.integers(0, 7))):
        at = line[int(place.rng.integers(len(line)))]
        side = place.either(1, -1)
        radius = place.between(0.12, 0.4) * place.half
        place.paint(
            blob(place.rng, float(at[0]), float(at[1]) + side * (wide / 2 + radius * 0.9), radius, 0.4), "woods"
        )


def river(place: Place) -> None:
    """A river that meanders through woods, meadows or fields."""
    place.ground = place.pick(("grass", "woods", "crop", "scrub"))
    if place.chance(0.6):
        place.patches.append((place.pick(("woods", "soil", "grass", "ploughed")), place.between(0.15, 0.45)))
    wide = place.between(0.14, 0.42) * place.half
    swing, wave = place.between(0.1, 0.4) * place.half, place.between(0.9, 2.2) * place.half
    line = meander(place.rng, place.reach, swing, wave, 80)
    water = place.pick(("river", "river", "lake"))
    river_bed(place, line, wide, water)
    wooded_banks(place, line, wide)
    if place.chance(0.5):
        at = line[int(place.rng.integers(20, 60))]
        bar = blob(place.rng, float(at[0]), float(at[1]), wide * 0.3, 0.4)
        place.paint(bar, place.pick(("sand", "mud", "woods")), Layer.WATER)
    for _ in range(3):
        at = line[int(place.rng.integers(24, 56))]
        x, y = float(at[0]), float(at[1])
        if place.resolves(16, 4.5) and wide > 12:
            length = min(place.between(14, 26), wide * 0.8)
            place.add(boat(place, x, y, place.either(0.0, math.pi), length, wake=place.chance(0.6)))
    side = place.either(1, -1)
    apart = wide / 2 + place.between(0.25, 0.45) * place.half
    road = line + [0, side * apart]
    if place.chance(0.5):
        smooth = meander(place.rng, place.reach, swing * 0.3, 2 * wave) + [0, side * apart]
        if place.chance(0.5):
            winding_road(
                place, smooth, place.between(5, 8) if place.gsd_m < 2 else 9, place.pick(("asphalt", "dirt road"))
            )
    _homes(place, road[::6], 0.5)
    bend = line[int(place.rng.integers(30, 50))]
    flood(place, float(bend[0]), float(bend[1]) - side * wide * 0.7, place.between(0.3, 0.5) * place.half, water)
    clearing(place, place.aside(0.5), side * (wide / 2 + 0.5 * place.half), place.between(0.18, 0.3) * place.half)


def _homes(place: Place, spots: np.ndarray, share: float) -> None:
    """Single houses at some of the spots (N, 2)."""
    place.fallow("soil")
    if not place.resolves(12, 4.5) or place.chance(0.4):
        return
    for x, y in spots.tolist():
        if place.sees(x, y) and place.chance(share) and place.free(x, y, 11):
            place.add(house(place, x, y, place.between(0, 6.3), 1.2), place.chance(0.7))


def lake(place: Place) -> None:
    """A lake or pond and what stands about it."""
    place.ground = place.pick(("grass", "woods", "lawn", "scrub", "crop"))
    if place.chance(0.6):
        place.patches.append((place.pick(("woods", "grass", "soil")), place.between(0.15, 0.4)))
    radius = place.between(0.38, 0.68) * place.half
    x, y = place.spot(0.3)
    shore = blob(place.rng, x, y, radius, 0.35)
    wide = place.between(1.04, 1.18)
    rim = [(x + (a - x) * wide, y + (b - y) * wide) for a, b in shore]
    place.paint(rim, place.pick(("sand", "mud", "grass", "soil")), Layer.WATER)
    water = place.pick(("lake", "lake", "river", "sea"))
    place.paint(shore, water, Layer.WATER)
    if place.chance(0.4):
        place.paint(
            blob(place.rng, x + radius * 0.2, y, radius * 0.2, 0.4), place.pick(("woods", "grass", "sand")), Layer.WATER
        )
    for _ in range(3):
        px, py = x + place.between(-0.5, 0.5) * radius, y + place.between(-0.5, 0.5) * radius
        if place.resolves(10, 4.5):
            place.add(boat(place, px, py, place.between(0, 6.3), place.between(9, 16), wake=place.chance(0.5)))
    if place.resolves(20, 5) and place.chance(0.5):
        corner = shore[int(place.rng.integers(len(shore)))]
        inward = math.atan2(y - corner[1], x - corner[0])
        place.add(pier(place, *corner, inward, place.between(18, 34), place.between(2.5, 4)), place.chance(0.7))
    if place.chance(0.5):
        side = y + radius * 1.35 + 10
        road_project(place, [(-2 * place.reach, side), (0.0, side), (2 * place.reach, side)], max(6.0, 3 * place.gsd_m),
                     place.chance(0.6), place.pick(("asphalt", "dirt road")))  # fmt: skip
    turns = np.linspace(0, 6.283, 14, endpoint=False) + place.between(0, 0.4)
    ring = radius * place.between(1.45, 1.7)
    _homes(place, np.stack([x + ring * np.cos(turns), y + ring * np.sin(turns)], 1), 0.5)
    edge = shore[int(place.rng.integers(len(shore)))]
    flood(place, *edge, place.between(0.25, 0.4) * place.half, water)
    angle = place.between(0, 6.3)
    clearing(place, *oriented(((radius * 1.5, 0),), x, y, angle)[0], place.between(0.18, 0.28) * place.half)


def beach(place: Place) -> None:
    """Sea, surf, sand and what lies behind the beach."""
    place.ground = place.pick(("scrub", "grass", "sand", "woods"))
    place.fallow("soil")
    line = meander(
        place.rng, place.reach, place.between(0.02, 0.14) * place.half, place.between(1.5, 4) * place.half, 120
    )
    line += [0, place.between(-0.15, 0.45) * place.half]
    deep = np.array([[place.reach, 2 * place.reach], [-place.reach, 2 * place.reach]])

    def band(shift: float, wobble: float) -> list[tuple[float, float]]:
        noise = np.convolve(place.rng.normal(size=len(line) + 8), np.ones(9) / 3, "valid") * wobble
        edge = line + np.stack([np.zeros(len(line)), noise + shift], 1)
        return [(a, b) for a, b in np.concatenate([edge, deep]).tolist()]

    wide = place.between(0.22, 0.6) * place.half
    swash = place.between(0.03, 0.08) * place.half
    place.paint(band(-wide, 0.03 * wide), "sand", Layer.WATER)
    place.paint(band(-swash, 0.25 * swash), "wet sand", Layer.WATER)
    shift, foam = 0.0, place.between(0.2, 1.0)
    for _ in range(int(place.rng.integers(1, 4))):
        place.paint(band(shift, 0.25 * swash), "foam", Layer.WATER)
        shift += swash * place.between(0.25, 0.9) * (0.3 + foam)
        place.paint(band(shift, 0.3 * swash), "sea", Layer.WATER)
        shift += swash * place.between(0.6, 2.0)
    far = shift + place.between(0.1, 0.5) * place.half
    for _ in range(3):
        x = place.aside(0.9)
        y = float(np.interp(x, line[:, 0], line[:, 1])) + far + place.between(0, 0.4) * place.half
        if place.resolves(10, 4.5):
            place.add(boat(place, x, y, place.between(0, 6.3), place.between(9, 16), wake=place.chance(0.5)))
        elif place.resolves(60, 4.5):
            place.add(ship(place, x, y, place.between(0, 6.3), place.between(50, 90)))
    if place.chance(0.4) and place.resolves(4, 2):
        x = place.aside(0.6)
        y = float(np.interp(x, line[:, 0], line[:, 1]))
        length = wide * 0.3 + place.between(0.3, 0.7) * place.half
        place.add(pier(place, x, y - 0.3 * wide, math.pi / 2, length, place.between(4, 8)), place.chance(0.7))
    back = line - [0, wide + 16]
    if place.chance(0.5):
        winding_road(place, back, max(6.0, 2.5 * place.gsd_m))
        if place.resolves(4.6, 4.5):
            for x, y in back[4:-4:3].tolist():
                place.add(car(place, x, y + 1.6, 0.0))
    if place.resolves(4.6, 4.5) and place.chance(0.3):
        parking_rows(place, 0, float(line[60, 1]) - wide - 34, 0, 12, 1)
    _homes(place, line[::7] - [0, wide + 36], 0.7)
    clearing(
        place, place.aside(0.5), float(line[60, 1]) - wide - 0.25 * place.half, place.between(0.15, 0.25) * place.half
    )
    flood(place, place.aside(0.4), float(line[60, 1]) - 0.2 * wide, wide * 0.6, "sea")
