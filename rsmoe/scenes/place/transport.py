"""Layouts of transport and energy: airports, harbours, bridges, storage tanks, solar farms."""

from __future__ import annotations

import math

import numpy as np

from rsmoe.scenes.place.buildings import building, tank, warehouse
from rsmoe.scenes.place.geometry import disc, meander, oriented, rectangle, straight
from rsmoe.scenes.place.grounds import solar_array
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.regions import clearing, flood
from rsmoe.scenes.place.thing import Layer
from rsmoe.scenes.place.vehicles import airplane, boat, ship, truck
from rsmoe.scenes.place.water import river_bed, wooded_banks
from rsmoe.scenes.place.ways import bridge, centre_line, pier, road_project, runway, street, traffic

_UP = -math.pi / 2
_GUIDE = (188, 160, 80, 180)
"""Colour of the lines that lead airplanes."""


def airport(place: Place) -> None:
    """An apron with stands, a terminal or hangars, a taxiway and, if it fits, the runway."""
    place.ground = place.pick(("grass", "grass", "soil"))
    place.fallow("concrete", "gravel", "soil")
    place.density = 0.05
    small = place.chance(0.3)
    span = place.between(14, 20) if small else place.between(30, 42)
    apron = place.between(2.4, 3.2) * span
    y = place.between(-0.45, 0.25) * place.half
    ground = place.pick(("concrete", "parking", "concrete"))
    place.paint(rectangle(0, y + apron / 2, 2 * place.reach, apron, 0), ground, Layer.PLOT)
    lane = max(0.5, 0.6 * place.gsd_m)
    pitch = span * place.between(1.15, 1.4)
    nose_in = _UP if place.chance(0.8) else -_UP
    for k in range(-int(place.reach / pitch) - 1, int(place.reach / pitch) + 2):
        x = k * pitch
        stand = y + span * 0.62
        if place.sees(x, stand, span):
            line = straight(x, stand - span * 0.5, x, y + apron - span * 0.4, lane)
            place.paint(line, "paint", Layer.MARKING, _GUIDE)
            turn = nose_in + float(place.rng.normal()) * 0.05
            place.add(airplane(place, x + place.between(-1, 1), stand, turn, span * place.between(0.86, 1.0)))
    if place.chance(0.5):
        x = place.aside(0.7)
        place.add(airplane(place, x, y + apron - span * 0.45, place.either(0.0, math.pi), span * 0.95))
    across = y + apron - span * 0.45
    place.paint(straight(-place.reach, across, place.reach, across, lane), "paint", Layer.MARKING, _GUIDE)
    _terminal(place, y, span, small)
    gap = min(place.between(25, 50), 0.3 * place.half)
    width = place.between(18, 24) if small else place.between(30, 45)
    middle = y + apron + gap + width / 2
    if middle - width / 2 < place.reach:
        for x in (place.between(-0.8, -0.2) * place.half, place.between(0.3, 0.9) * place.half):
            place.paint(straight(x, y + apron - 2, x + gap * 0.4, middle, span * 0.45), "runway", Layer.PLOT)
        place.add(runway(place, 0, middle, 0.0, 3 * place.reach, width))
        if place.chance(0.4):
            place.add(airplane(place, place.aside(0.8), middle, math.pi, span * 0.95))


def _terminal(place: Place, y: float, span: float, small: bool) -> None:
    """Buildings along the upper edge of the apron."""
    x = -place.reach
    while x < place.reach:
        long = place.between(1.2, 2.6) * span
        deep = place.between(0.6, 1.0) * span
        middle = x + long / 2
        if place.sees(middle, y - deep / 2, long / 2):
            if small or place.chance(0.5):
                thing = warehouse(place, middle, y - deep / 2 - 3, 0, long, deep)
            else:
                thing = building(place, middle, y - deep / 2 - 3, 0, long, deep, place.between(9, 18))
            place.add(thing, place.chance(0.8))
        x += long + place.between(6, 30)
    top = y - span - 20
    street(place, -place.reach, top, place.reach, top, 9)
    traffic(place, -place.reach, top, place.reach, top, 9, 30)


def harbor(place: Place) -> None:
    """A quay with sheds, piers into the water, ships or boats alongside."""
    place.ground = place.pick(("sea", "sea", "lake"))
    place.density = min(place.density, 0.4)
    place.fallow("concrete", "gravel", "soil")
    quay = place.between(-0.45, -0.05) * place.half
    depth = place.reach + quay
    land = place.pick(("concrete", "concrete", "gravel", "yard"))
    place.paint(rectangle(0, quay - depth / 2, 2 * place.reach, depth, 0), land, Layer.WATER)
    place.paint(rectangle(0, quay - 6, 2 * place.reach, 12, 0), "concrete", Layer.PLOT)
    street(place, -place.reach, quay - 18, place.reach, quay - 18, 8)
    traffic(place, -place.reach, quay - 18, place.reach, quay - 18, 8, 28)
    marina = place.gsd_m < 1.1 and place.chance(0.5)
    size = place.between(8, 14) if marina else place.between(50, 95)
    long = size * place.between(4, 6) if marina else size * place.between(0.9, 1.5)
    wide = 2.4 if marina else place.between(12, 22)
    pitch = wide + size * (3.0 if marina else place.between(0.9, 1.3))
    shift = place.between(-0.5, 0.5) * pitch
    for k in range(-int(place.reach / pitch) - 1, int(place.reach / pitch) + 2):
        x = k * pitch + shift
        there = place.chance(0.75)
        if not place.sees(x, quay + long / 3, long / 2 + size):
            continue
        place.add(pier(place, x, quay - 1, math.pi / 2, long, wide), there)
        if marina and there:
            _berths(place, x, quay, long, wide, size)
        elif there and not marina:
            for side in (-1, 1):
                lie = size * place.between(0.75, 1.0)
                at = (x + side * (wide / 2 + lie * 0.085 + 2), quay + long * 0.5)
                place.add(ship(place, *at, math.pi / 2 if place.chance(0.5) else _UP, lie))
    if not marina:
        at = (place.aside(0.6), quay + long + size * place.between(0.4, 0.9))
        place.add(ship(place, *at, place.between(-0.5, 0.5), size))
    if place.resolves(9, 4.5):
        for _ in range(3):
            at = (place.aside(0.9), quay + long + place.between(10, 0.5 * place.half + 12))
            place.add(boat(place, *at, place.between(0, 6.3), place.between(8, 13), wake=place.chance(0.6)))
    x = -place.reach
    while x < place.reach:
        span, deep = place.between(22, 60), place.between(16, 28)
        if place.sees(x + span / 2, quay - 26 - deep / 2, span):
            place.add(warehouse(place, x + span / 2, quay - 26 - deep / 2, 0, span, deep), place.chance(0.7))
            if place.resolves(12, 5):
                place.add(truck(place, x + span / 2, quay - 10, 0.0))
        x += span + place.between(5, 25)


def _berths(place: Place, x: float, quay: float, long: float, wide: float, size: float) -> None:
    """Boats on both sides of a jetty."""
    pitch = size * 0.46
    for side in (-1, 1):
        for berth in range(int((long - 6) / pitch)):
            y = quay + 6 + berth * pitch
            at = (x + side * (wide / 2 + size * 0.56), y + place.between(-0.2, 0.2))
            if place.sees(*at, size / 2):
                nose = 0.0 if side > 0 else math.pi
                place.add(boat(place, *at, nose + float(place.rng.normal()) * 0.04, size * place.between(0.75, 1.0)))


def bridge_scene(place: Place) -> None:
    """A river or a strait under one or two road bridges."""
    place.ground = place.pick(("grass", "grass", "yard"))
    wide = place.between(0.45, 0.85) * place.half
    line = meander(place.rng, place.reach, place.between(0.02, 0.12) * place.half, place.between(1.5, 3) * place.half)
    water = place.pick(("river", "lake", "sea"))
    river_bed(place, line, wide, water)
    wooded_banks(place, line, wide)
    width = place.between(9, 18)
    x = place.aside(0.35)
    turn = math.pi / 2 + place.between(-0.2, 0.2)
    places = [x] if place.chance(0.7) else [x, x + width + place.between(10, 0.6 * place.half)]
    for spot in places:
        middle = float(np.interp(spot, line[:, 0], line[:, 1]))
        ends = oriented(((-2 * place.reach, 0), (2 * place.reach, 0)), spot, middle, turn)
        street(place, *ends[0], *ends[1], width)
        place.add(bridge(place, spot, middle, turn, wide * 1.12 + 14, width))
        near, far = oriented(((-wide * 0.5 - 20, 0), (wide * 0.5 + 20, 0)), spot, middle, turn)
        centre_line(place, *ends[0], *near)
        centre_line(place, *far, *ends[1])
        traffic(place, *ends[0], *ends[1], width, 26)
    _bank_life(place, line, wide, x)
    shore = x + place.between(0.3, 0.5) * place.half * place.either(1, -1)
    side = place.either(1, -1)
    bank = float(np.interp(shore, line[:, 0], line[:, 1])) + side * wide * 0.5
    flood(place, shore, bank, place.between(0.2, 0.32) * place.half, water)
    clearing(place, -shore, bank + side * 0.3 * place.half, place.between(0.15, 0.25) * place.half)


def _bank_life(place: Place, line: np.ndarray, wide: float, bridge_x: float) -> None:
    """Boats on the water, halls on the banks away from the bridge."""
    for _ in range(4):
        x = place.aside(0.9)
        y = float(np.interp(x, line[:, 0], line[:, 1])) + place.between(-0.3, 0.3) * wide
        clear = abs(x - bridge_x) > 0.35 * place.half
        if clear and place.resolves(14, 4.5):
            heading, length = place.either(0.0, math.pi), place.between(12, 20)
            place.add(boat(place, x, y, heading, length, wake=place.chance(0.6)))
    place.fallow("soil")
    for side in (-1, 1):
        for x in (-0.75, -0.35, 0.35, 0.75):
            px = bridge_x + x * place.half * 1.1
            py = float(np.interp(px, line[:, 0], line[:, 1])) + side * (wide / 2 + 42)
            if place.sees(px, py, 20) and place.chance(0.5) and place.free(px, py, 20):
                place.add(warehouse(place, px, py, 0, place.between(24, 36), place.between(16, 26)), place.chance(0.7))


def storage_tanks(place: Place) -> None:
    """Tanks in rows within earth walls, pipes between them, sheds at the side."""
    place.ground = place.pick(("soil", "gravel", "concrete", "grass"))
    radius = min(place.between(9, 22), place.half * 0.24)
    pitch = radius * place.between(2.7, 3.4)
    shift_x, shift_y = place.between(-0.5, 0.5) * pitch, place.between(-0.5, 0.5) * pitch
    filled, yard = place.between(0.35, 0.95), place.pick(("gravel", "concrete", "soil", "turf"))
    place.bare = yard if place.chance(0.7) else "soil"
    rows = int(place.reach / pitch) + 1
    lane = int(place.rng.integers(-1, 2))
    for i in range(-rows, rows + 1):
        for j in range(-rows, rows + 1):
            x = shift_x + i * pitch
            y = shift_y + j * pitch + (10 if j > lane else -10)
            if not place.sees(x, y, pitch / 2):
                continue
            place.paint(
                rectangle(x, y, pitch - 1.5, pitch - 1.5, 0), "concrete", Layer.GROUND, (158, 152, 140, 158), 0.9
            )
            place.paint(rectangle(x, y, pitch - 4, pitch - 4, 0), yard, Layer.GROUND)
            place.paint(straight(x, y, x, y + pitch, 0.9), "concrete", Layer.PLOT, (176, 174, 168, 172), 0.8)
            if place.chance(0.82):
                place.add(tank(place, x, y, radius * place.between(0.72, 1.0)), place.chance(filled))
            else:
                place.add(building(place, x, y, 0, radius * 1.5, radius, place.between(4, 7)), place.chance(0.7))
    y = shift_y + (lane + 0.5) * pitch
    street(place, -place.reach, y, place.reach, y, 7)
    traffic(place, -place.reach, y, place.reach, y, 7, 40)


def solar_farm(place: Place) -> None:
    """Blocks of panel rows between service tracks, in grass or on bare ground."""
    place.ground = place.pick(("grass", "scrub", "soil", "yard", "grass"))
    place.fallow("soil")
    place.density = min(place.density, 0.4)
    long = min(place.between(36, 70), place.half * 0.85)
    pitch = place.between(5, 8)
    rows = max(3, int(min(place.between(28, 60), place.half * 0.8) / pitch))
    deep, lane = rows * pitch, place.between(6, 12)
    shift_x, shift_y = place.between(-0.5, 0.5) * long, place.between(-0.5, 0.5) * deep
    filled = place.between(0.5, 0.95)
    for i in range(-int(place.reach / (long + lane)) - 1, int(place.reach / (long + lane)) + 2):
        x = shift_x + i * (long + lane)
        place.paint(rectangle(x + (long + lane) / 2, 0, lane * 0.4, 2 * place.reach, 0), "dirt road", Layer.GROUND)
        for j in range(-int(place.reach / (deep + lane)) - 1, int(place.reach / (deep + lane)) + 2):
            y = shift_y + j * (deep + lane)
            if place.sees(x, y, max(long, deep) / 2):
                if place.chance(0.9):
                    place.add(solar_array(place, x, y, 0.0, long, rows, pitch), place.chance(filled))
                else:
                    place.paint(disc(x, y, 3), "gravel")
                    place.add(building(place, x, y, 0, 14, 9, 4), place.chance(0.7))
    if place.chance(0.6):
        x = place.aside(0.4)
        y = shift_y + (deep + lane) / 2
        road_project(place, [(-2 * place.reach, y), (x, y), (2 * place.reach, y)], 6.0, place.chance(0.5), "asphalt")
