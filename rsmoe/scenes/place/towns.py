"""Layouts of built-up places: residential and industrial areas, parking lots, sports grounds, crossroads."""

from __future__ import annotations

import math

from rsmoe.scenes.place.buildings import building, house, tank, warehouse
from rsmoe.scenes.place.geometry import rectangle
from rsmoe.scenes.place.grounds import baseball_diamond, basketball_court, football_field, pool, tennis_court
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.regions import clearing, flood
from rsmoe.scenes.place.thing import Layer
from rsmoe.scenes.place.vehicles import car, truck
from rsmoe.scenes.place.ways import centre_line, parking_rows, road_project, roundabout, street, traffic

_UP = -math.pi / 2


def residential(place: Place) -> None:
    """Streets between two rows of lots each; on a lot a house, a drive, trees and perhaps a pool."""
    place.ground = place.pick(("lawn", "lawn", "yard"))
    place.fallow("soil")
    width, walk, depth = place.between(6, 9), place.between(1.0, 1.8), place.between(25, 33)
    lot = place.between(16, 24)
    pools = place.pick(("", "some", "many"))
    filled = place.between(0.55, 1.0)
    pitch = 2 * depth + width
    first = -place.reach - place.between(0, pitch)
    crossing = place.aside(0.8)
    street(place, crossing, -place.reach, crossing, place.reach, width, walk)
    rows = [first + k * pitch for k in range(int((2 * place.reach + pitch) / pitch) + 2)]
    for y in rows:
        street(place, -place.reach, y, place.reach, y, width, walk)
        if place.gsd_m < 0.6:
            centre_line(place, -place.reach, y, place.reach, y)
        traffic(place, -place.reach, y, place.reach, y, width, 40)
        for side in (-1, 1):
            for direction in (-1, 1):
                x = crossing + direction * (width / 2 + walk + lot / 2 + 1)
                while abs(x) < place.reach:
                    if place.sees(x, y + side * depth / 2, lot):
                        _lot(place, x, y, side, width / 2 + walk, lot, depth, filled, pools)
                    x += direction * lot


def _lot(
    place: Place, x: float, y: float, side: int, kerb: float, lot: float, depth: float, filled: float, pools: str
) -> None:
    """One lot whose street lies at ``y``; ``side`` -1 is above it."""

    def at(right: float, back: float) -> tuple[float, float]:
        return x + right, y + side * back

    if place.chance(0.3):
        place.paint(
            rectangle(*at(0, kerb + (depth - kerb) / 2), lot - 0.6, depth - kerb - 0.6, 0),
            place.pick(("yard", "lawn", "turf")),
        )
    if place.chance(0.4):
        place.paint(rectangle(*at(0, depth - 0.2), lot, 0.5, 0), "gravel")
    setback = kerb + place.between(9, 12)
    facing = _UP if side > 0 else -_UP
    bend = facing + float(place.rng.normal()) * 0.03
    drive = place.between(0.28, 0.36) * lot * place.either(1, -1)
    standing = place.chance(filled)
    place.add(house(place, *at(-drive * 0.25, setback), bend, min(1.0, lot / 20)), standing)
    surface = place.pick(("concrete", "concrete", "gravel", "parking"))
    place.paint(rectangle(*at(drive, kerb + setback / 2 - 2.5), 3.2, setback - 2, 0), surface, Layer.ROAD)
    if place.resolves(4.6, 4.5) and place.chance(0.6):
        place.add(car(place, *at(drive, kerb + place.between(3, 5)), facing * place.either(1, -1)))
    back = setback + 5
    if place.resolves(5, 4) and depth - back > 6 and place.chance({"": 0.0, "some": 0.3, "many": 0.7}[pools]):
        middle = at(place.between(-0.2, 0.2) * lot, (back + depth) / 2 + 1.2)
        place.add(pool(place, *middle, place.either(0.0, math.pi / 2), place.between(5.5, 8)),
                  place.chance(0.8))  # fmt: skip
    elif place.chance(0.3):
        shed = at(place.between(-0.35, 0.35) * lot, depth - 3)
        place.paint(rectangle(*shed, 3.0, 2.4, 0), "roof", Layer.HIGH, height=2.4)


def industrial(place: Place) -> None:
    """Halls in yards along a street, with lorries, small tanks and parked cars here and there."""
    place.ground = place.pick(("gravel", "concrete", "grass", "yard"))
    place.fallow("concrete", "gravel", "soil")
    width = place.between(8, 12)
    block = place.between(62, 85)
    street(place, -place.reach, 0, place.reach, 0, width, 1.5)
    traffic(place, -place.reach, 0, place.reach, 0, width, 35)
    cross = place.aside(0.6)
    street(place, cross, -place.reach, cross, place.reach, width, 1.5)
    centre_line(place, -place.reach, 0, place.reach, 0)
    filled, tanks = place.between(0.5, 0.95), place.chance(0.4)
    for side in (-1, 1):
        for row in range(int(place.reach / block) + 1):
            y = side * (width / 2 + 4 + block * (row + 0.5))
            for direction in (-1, 1):
                x = cross + direction * (width / 2 + 4)
                while abs(x) < place.reach:
                    span = place.between(34, 74)
                    middle = x + direction * span / 2
                    if place.sees(middle, y, max(span, block) / 2):
                        _yard(place, middle, y, span, block, filled, tanks)
                    x += direction * (span + place.between(3, 8))


def _yard(place: Place, x: float, y: float, span: float, block: float, filled: float, tanks: bool) -> None:
    """One plot of ``span`` x ``block`` metres with a hall."""
    place.paint(
        rectangle(x, y, span, block - 5, 0), place.pick(("concrete", "parking", "gravel", "concrete")), Layer.GROUND
    )
    long, wide = block * place.between(0.55, 0.75), span * place.between(0.6, 0.8)
    shift = place.between(-0.5, 0.5) * (block - 8 - long)
    if place.chance(0.7):
        thing = warehouse(place, x, y + shift, math.pi / 2, long, wide)
    else:
        thing = building(place, x, y + shift, math.pi / 2, long, wide, place.between(7, 16))
    place.add(thing, place.chance(filled))
    free = block - 8 - long
    end = y + shift - math.copysign(long / 2 + free / 4, shift)
    if tanks and free > 12 and place.chance(0.5):
        radius = min(free / 4, span / 8, 7)
        for k in (-1, 1):
            place.add(tank(place, x + k * radius * 1.5, end, radius), place.chance(0.8))
    elif place.resolves(12, 5):
        for k in range(3):
            place.add(truck(place, x + (k - 1) * 6 + place.between(-1, 1), end, math.pi / 2))
    if place.chance(0.5):
        place.paint(rectangle(x - span / 2 + 1.5, y, 3, block - 10, 0), "lawn", Layer.PLOT)


def parking_lot(place: Place) -> None:
    """Rows of bays, a shop or office beside them, and a street."""
    place.ground = place.pick(("lawn", "concrete", "grass"))
    place.fallow("soil")
    rows, islands = max(2, int(place.half * 1.1 / 8.5)), place.chance(0.45)
    bays = int(place.half * 2.0 / 2.6)
    depth = rows * 16.5 + 6.5
    shift = place.aside(0.35)
    parking_rows(place, 0, shift, 0, bays, rows, trees=islands)
    edge = shift - depth / 2
    deep = place.between(16, 30)
    for k in (-1, 0, 1):
        long = place.between(28, 44)
        x = k * 52 + place.between(-4, 4)
        if place.sees(x, edge - deep / 2 - 5, 25):
            place.add(building(place, x, edge - deep / 2 - 5, 0, long, deep, place.between(5, 14)), place.chance(0.75))
    y = shift + depth / 2 + 8
    street(place, -place.reach, y, place.reach, y, 8, 1.5)
    clearing(place, place.aside(0.5), edge - deep - 0.25 * place.half, 0.25 * place.half)
    puddle = (place.aside(0.5), place.aside(0.4))
    flood(place, *puddle, place.between(0.2, 0.35) * place.half)
    street(place, -bays * 1.3 - 3, edge + 3, -bays * 1.3 - 3, y, 6)
    centre_line(place, -place.reach, y, place.reach, y)
    traffic(place, -place.reach, y, place.reach, y, 8, 22)


def sports_ground(place: Place) -> None:
    """A park of courts and pitches with paths, trees and a clubhouse."""
    place.ground = place.pick(("lawn", "grass", "turf"))
    place.fallow("soil")
    cell = 46.0
    across = int(place.reach / cell) + 1
    shift_x, shift_y = place.between(-20, 20), place.between(-20, 20)
    big = place.half > 55 or place.chance(0.6)
    taken: set[tuple[int, int]] = set()
    if big and place.chance(0.75):
        length = min(place.between(88, 106), place.half * 1.5)
        if place.chance(0.6):
            thing = football_field(place, shift_x + cell / 2, shift_y, 0, length * 0.86, place.chance(0.5))
        else:
            thing = baseball_diamond(place, shift_x - cell * 0.4, shift_y + cell * 0.2, -0.4, length * 0.75)
        place.add(thing, place.chance(0.85))
        taken = {(i, j) for i in (-1, 0, 1, 2) for j in (-1, 0, 1)} if length > 70 else {(0, 0), (1, 0)}
    kinds = ("tennis", "tennis", "basketball", "tennis", "diamond", "club", "pool", "cars", "", "")
    for i in range(-across, across + 1):
        for j in range(-across, across + 1):
            x, y = shift_x + i * cell, shift_y + j * cell * 0.62
            if (i, j) not in taken and place.sees(x, y, 20):
                _court(place, x, y, place.pick(kinds))
    if place.chance(0.6):
        place.paint(rectangle(0, shift_y - cell * 1.24, 2 * place.reach, 2.5, 0), "concrete", Layer.PLOT)
    if place.chance(0.5):
        x = shift_x - cell / 2
        road_project(place, [(x, -place.reach), (x, 0.0), (x, place.reach)], 5.0, place.chance(0.7), "asphalt")


def _court(place: Place, x: float, y: float, kind: str) -> None:
    """One cell of a sports park."""
    turn = 0.0 if place.chance(0.85) else math.pi / 2
    there = place.chance(0.8)
    if kind == "tennis":
        place.add(tennis_court(place, x, y, 0.0), there)
    elif kind == "basketball":
        place.add(basketball_court(place, x, y, 0.0), there)
    elif kind == "diamond":
        place.add(baseball_diamond(place, x - 14, y, turn, 26), there)
    elif kind == "club":
        place.add(building(place, x, y, turn, place.between(14, 24), place.between(9, 14), place.between(4, 7)), there)
    elif kind == "pool":
        place.add(pool(place, x, y, turn, place.between(14, 25)), there)
    elif kind == "cars" and place.resolves(4.6, 4.5):
        parking_rows(place, x, y, 0, 9, 1)


def crossroads(place: Place) -> None:
    """Two streets that cross, on a plain crossing or a roundabout, with buildings or houses at the corners."""
    place.ground = place.pick(("lawn", "concrete", "grass"))
    place.fallow("soil")
    main, side = place.between(12, 18), place.between(8, 12)
    x, y = place.spot(0.3)
    slant = place.between(-0.25, 0.25)
    street(place, -place.reach, y, place.reach, y, main, 2.0)
    top, bottom = x - slant * (place.reach + y), x + slant * (place.reach - y)
    street(place, top, -place.reach, bottom, place.reach, side, 2.0)
    ring = place.chance(0.5)
    clear = main
    if ring:
        radius = place.between(7, 12)
        verge = 2 * radius + 2 * side
        place.paint(rectangle(x, y, verge, verge, 0), "lawn")
        place.add(roundabout(place, x, y, radius, side * 0.8))
        clear = radius + side
    centre_line(place, -place.reach, y, x - clear, y, solid=place.chance(0.5))
    centre_line(place, x + clear, y, place.reach, y)
    if not ring and place.gsd_m < 0.6:
        _zebra(place, x - main * 0.75, y, main, 0.0)
        _zebra(place, x + main * 0.75, y, main, 0.0)
    traffic(place, -place.reach, y, x - clear, y, main, 18)
    traffic(place, x + clear, y, place.reach, y, main, 18)
    low = x + math.copysign(0.45 * place.half, slant)
    flood(place, low, y + 0.2 * place.half, place.between(0.2, 0.35) * place.half)
    homes = place.chance(0.5)
    filled = place.between(0.5, 0.95)
    for down in (-1, 1):
        for right in (-1, 1):
            for far in range(1 + int(place.reach / 34)):
                for deep in range(1 + int(place.reach / 40)):
                    px = x + right * (side / 2 + abs(slant) * 0.8 * place.reach + 18 + 30 * far)
                    py = y + down * (main / 2 + 17 + 34 * deep)
                    if place.sees(px, py, 14):
                        if homes:
                            thing = house(place, px, py, _UP * -down, 1.15)
                        else:
                            long, wide, tall = place.between(18, 25), place.between(13, 22), place.between(6, 22)
                            thing = building(place, px, py, 0, long, wide, tall)
                        place.add(thing, place.chance(filled))


def _zebra(place: Place, x: float, y: float, span: float, angle: float) -> None:
    """A pedestrian crossing over a street of width ``span``."""
    bars = int(span / 1.1)
    for bar in range(bars):
        place.paint(rectangle(x, y + (bar - (bars - 1) / 2) * 1.1, 3.0, 0.55, angle), "paint", Layer.MARKING)
