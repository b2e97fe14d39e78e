"""Layouts of the open country: farmland, forests, deserts, mountains."""

from __future__ import annotations

import math

import numpy as np

from rsmoe.scenes.place.buildings import greenhouse, house, warehouse
from rsmoe.scenes.place.geometry import blob, disc, meander, oriented, rectangle, ribbon
from rsmoe.scenes.place.grounds import solar_array
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.regions import clearing, flood
from rsmoe.scenes.place.thing import Layer, Shape, Thing
from rsmoe.scenes.place.vehicles import car, truck
from rsmoe.scenes.place.ways import road_project, winding_road
from rsmoe.scenes.render.palette import Color

_CROPS: tuple[Color, ...] = (
    (74, 96, 48, 172), (92, 112, 58, 178), (112, 122, 68, 170),
    (134, 134, 82, 166), (66, 84, 50, 160), (146, 140, 70, 172),
)  # fmt: skip


def _field(place: Place, outline: list[tuple[float, float]], angle: float) -> None:
    """One field with furrows along ``angle``."""
    kind = place.pick(("crop", "crop", "crop", "stubble", "ploughed", "grass"))
    color: Color | None = None
    if kind == "crop":
        base, gain = _CROPS[int(place.rng.integers(len(_CROPS)))], place.between(0.86, 1.12)
        color = (base[0] * gain, base[1] * gain, base[2] * gain, base[3])
    furrow = (0.0, 0.0)
    if kind != "grass" and place.chance(0.75):
        # Furrows that the camera could not resolve would only alias.
        spacing = max(place.between(1.5, 6), 3.2 * place.gsd_m)
        furrow = (-math.sin(angle) / spacing, math.cos(angle) / spacing)
    shape = Shape(outline, kind, color, furrow=furrow)
    place.add(Thing(noun="", shapes=(shape,), layer=Layer.GROUND))


def _split(place: Place, x: float, y: float, wide: float, tall: float, smallest: float, gap: float) -> None:
    """Cut a rectangle into fields, again and again."""
    if not place.sees(x, y, max(wide, tall) * 0.75):
        return
    if max(wide, tall) < smallest * 2 or (max(wide, tall) < smallest * 3.2 and place.chance(0.35)):
        _field(place, rectangle(x, y, wide - gap, tall - gap, 0), 0.0 if wide > tall else math.pi / 2)
        return
    cut = place.between(0.36, 0.64)
    if wide > tall:
        _split(place, x - wide * (1 - cut) / 2, y, wide * cut, tall, smallest, gap)
        _split(place, x + wide * cut / 2, y, wide * (1 - cut), tall, smallest, gap)
    else:
        _split(place, x, y - tall * (1 - cut) / 2, wide, tall * cut, smallest, gap)
        _split(place, x, y + tall * cut / 2, wide, tall * (1 - cut), smallest, gap)


def farmland(place: Place) -> None:
    """A patchwork of fields or circles under pivots, tracks, hedges, a farmstead, greenhouses."""
    place.ground = place.pick(("grass", "soil", "stubble"))
    place.fallow("soil")
    smallest = place.between(0.26, 0.5) * place.half
    if place.chance(0.22) and place.gsd_m > 1.5:
        radius = place.between(0.3, 0.5) * place.half
        for i in range(-3, 4):
            for j in range(-3, 4):
                x, y = (i + 0.5) * radius * 2.08, (j + 0.4) * radius * 2.08
                if place.sees(x, y, radius) and place.chance(0.9):
                    _field(place, disc(x, y, radius, 48), place.between(0, 3))
                    if place.chance(0.4):
                        turn = place.between(0, 6.3)
                        arm = [(x, y), *oriented(((radius, 0),), x, y, turn)]
                        place.paint(ribbon(np.array(arm), max(1.5, 0.8 * place.gsd_m)), "gravel", Layer.PLOT)
    else:
        _split(place, 0, 0, 2 * place.reach, 2 * place.reach, smallest, max(1.2, 1.2 * place.gsd_m))
    if place.chance(0.3):
        wood = blob(place.rng, *place.spot(0.7), smallest * 0.6, 0.4)
        place.paint(wood, "woods")
    if place.chance(0.3):
        place.canopy_jitter = False
        grove = rectangle(*place.spot(0.6), smallest * 1.3, smallest, 0)
        place.paint(grove, "orchard")
    y = place.aside(0.5)
    width = max(place.between(4, 7), 2.2 * place.gsd_m)
    if place.chance(0.7):
        line = meander(place.rng, place.reach, 0.015 * place.half, 2 * place.half)
        winding_road(place, line + [0, y], width, place.pick(("dirt road", "asphalt", "dirt road")))
        if place.resolves(4.6, 4.5):
            for x in (-0.5, 0.1, 0.6):
                place.add(car(place, x * place.half, y + 1.5, 0.0))
        elif place.resolves(14, 4.5):
            place.add(truck(place, place.aside(0.7), y, 0.0))
    x = place.aside(0.6)
    if place.chance(0.6):
        road_project(place, [(x, -place.reach), (x, 0.0), (x, place.reach)], width, place.chance(0.5), "asphalt")
    _farmstead(place, x, y + place.either(1, -1) * (width + 22))
    clearing(place, place.aside(0.6), y - 0.6 * place.half, place.between(0.14, 0.24) * place.half)
    flood(place, *place.spot(0.5), place.between(0.25, 0.4) * place.half)


def _farmstead(place: Place, x: float, y: float) -> None:
    """A yard with a house and barns, and greenhouses some way off."""
    if place.resolves(12, 4.5) and place.chance(0.6):
        place.paint(rectangle(x + 32, y, 58, 38, 0), place.pick(("yard", "gravel", "turf")), Layer.WATER)
        place.add(house(place, x + 16, y, 0.0, 1.3), place.chance(0.75))
        place.add(
            warehouse(place, x + 36, y - 4, math.pi / 2, place.between(24, 32), place.between(10, 14)),
            place.chance(0.7),
        )
        place.add(
            warehouse(place, x + 54, y + 4, math.pi / 2, place.between(18, 26), place.between(9, 12)), place.chance(0.4)
        )
    if place.resolves(24, 6) and place.chance(0.45):
        length, width = place.between(40, 70), place.between(26, 40)
        for k in range(int(place.rng.integers(1, 5))):
            at = (x - 45 - k % 2 * (length + 6), y + (k // 2 - 0.5) * (width + 6) * 1.0)
            place.add(greenhouse(place, *at, 0.0, length, width), place.chance(0.7))


def forest(place: Place) -> None:
    """Closed woods, sometimes with glades, a track, a hut or a pond."""
    place.ground = "woods"
    place.fallow("soil")
    if place.chance(0.5):
        place.patches.append((place.pick(("grass", "soil", "scrub")), place.between(0.04, 0.22)))
    if place.chance(0.55):
        line = meander(
            place.rng, place.reach, place.between(0.1, 0.35) * place.half, place.between(1.2, 2.5) * place.half
        )
        winding_road(place, line, max(place.between(4, 8), 2.6 * place.gsd_m), place.pick(("dirt road", "asphalt")))
    if place.chance(0.25):
        pond = blob(place.rng, *place.spot(0.6), 0.2 * place.half, 0.3)
        place.paint(pond, "lake", Layer.WATER)
    for _ in range(int(place.rng.integers(1, 4))):
        x, y = place.spot(0.65)
        clearing(place, x, y, place.between(0.14, 0.34) * place.half, place.chance(0.4))
    if place.chance(0.5):
        x = place.aside(0.5)
        route = [(x, -place.reach), (x * 0.8, 0.0), (x, place.reach)]
        kind = place.pick(("asphalt", "dirt road"))
        road_project(place, route, max(6.0, 3 * place.gsd_m), place.chance(0.4), kind)
    if place.resolves(12, 4.5) and place.chance(0.5):
        for _ in range(int(place.rng.integers(1, 5))):
            x, y = place.spot(0.7)
            if not place.free(x, y, 11):
                continue
            place.paint(blob(place.rng, x, y, 19, 0.25), place.pick(("turf", "yard", "soil")), Layer.GROUND)
            place.add(house(place, x, y, place.between(0, 6.3), 1.2), place.chance(0.7))


def desert(place: Place) -> None:
    """Dunes, or stony ground with shrubs; a track, a few huts, perhaps panels."""
    dunes = place.chance(0.55)
    place.ground = "dune" if dunes else "scrub"
    place.fallow("gravel")
    if dunes:
        place.relief, place.relief_m = "dunes", place.between(1.2, 3.5) * place.gsd_m
        if place.chance(0.4):
            place.patches.append((place.pick(("scrub", "gravel")), place.between(0.08, 0.25)))
    else:
        place.density = place.between(0.5, 2.0)
        place.canopy_m = place.between(1.0, 2.0) * max(1.0, 1.2 * place.gsd_m)
        place.patches.append((place.pick(("soil", "rock", "sand", "gravel")), place.between(0.1, 0.4)))
    if place.chance(0.5):
        line = meander(place.rng, place.reach, 0.1 * place.half, 2 * place.half)
        winding_road(place, line, max(place.between(4, 7), 2.6 * place.gsd_m), place.pick(("dirt road", "asphalt")))
    if place.chance(0.6):
        y = place.aside(0.6)
        road_project(place, [(-2 * place.reach, y), (0.0, y * 0.7), (2 * place.reach, y)], max(6.0, 2.8 * place.gsd_m),
                     place.chance(0.4), "asphalt")  # fmt: skip
    for _ in range(5):
        x, y = place.spot(0.75)
        if not place.free(x, y, 14):
            continue
        if place.resolves(14, 4.5):
            place.add(house(place, x, y, place.between(0, 6.3), 1.3), place.chance(0.35))
        elif place.resolves(30, 4.5):
            place.add(
                warehouse(place, x, y, place.between(0, 6.3), place.between(34, 50), place.between(24, 30)),
                place.chance(0.35),
            )
    if place.resolves(30, 8):
        x, y = place.spot(0.4)
        if not place.free(x, y, 30):
            return
        place.add(solar_array(place, x, y, 0.0, min(50.0, 0.6 * place.half), 6, 6.0), place.chance(0.3))


def mountain(place: Place) -> None:
    """Ridges and valleys: woods below, rock and snow above, a road in the valley."""
    place.ground = place.pick(("woods", "grass", "rock", "scrub"))
    place.fallow("soil")
    place.density = place.between(0.2, 2.0)
    place.relief, place.relief_m = "ridges", place.between(3.0, 6.0) * place.gsd_m
    high = place.pick(("rock", "snowfield", "grass", "woods")) if place.ground != "rock" else "snowfield"
    share = place.between(0.1, 0.45)
    place.patches.append(("rock" if high == "snowfield" and place.ground != "rock" else high, share))
    if high == "snowfield" and place.ground != "rock":
        place.patches.append(("snowfield", share * place.between(0.3, 0.7)))
    if place.chance(0.5):
        line = meander(
            place.rng, place.reach, place.between(0.15, 0.35) * place.half, place.between(0.8, 1.6) * place.half
        )
        winding_road(place, line, max(7.0, 2.0 * place.gsd_m), place.pick(("dirt road", "asphalt")))
    if place.chance(0.3):
        tarn = blob(place.rng, *place.spot(0.5), 0.15 * place.half, 0.3)
        place.paint(tarn, "lake", Layer.WATER)
    x, y = place.spot(0.5)
    clearing(place, x, y, place.between(0.16, 0.3) * place.half, place.chance(0.3))
    route = [(x, -2 * place.reach), (x * 0.5, y), (x, 2 * place.reach)]
    road_project(place, route, max(7.0, 2.6 * place.gsd_m), place.chance(0.3), "dirt road")
    for _ in range(4):
        x, y = place.spot(0.75)
        if place.resolves(26, 4.2) and place.free(x, y, 24):
            place.add(
                warehouse(place, x, y, place.between(0, 6.3), place.between(26, 40), place.between(16, 24)),
                place.chance(0.4),
            )
