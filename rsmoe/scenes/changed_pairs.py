"""What differs between two dates of a place, and the masks that say so."""

from __future__ import annotations

import numpy as np

from rsmoe.scenes.place.place import Place
from rsmoe.scenes.scene import Change

_REGIONS = (3, 4)
"""Kinds of change of the land itself (water, vegetation)."""
_BUILDINGS = ("building", "house", "warehouse")


def draw_changes(place: Place, rng: np.random.Generator) -> tuple[list[bool], list[bool]]:
    """Which things stand on the first and on the second date of a changed pair.

    Where there are buildings, two of three changed pairs show a development: one to eight neighbours built, or
    demolished, together, as nine of ten changed pairs of LEVIR-CC do; a road may come, or go, with them. Otherwise
    up to four things of any kinds appear or vanish; at most one of them is a change of the land itself. All are near
    enough to the middle to be seen. Things that do not take part keep the state that the layout gave them.
    """
    first, second = list(place.standing), list(place.standing)
    groups: dict[str, list[int]] = {}
    for index, thing in enumerate(place.things):
        if (thing.appear or thing.vanish) and _sees_middle(place, index):
            groups.setdefault(place.things[index].noun, []).append(index)
    built = [index for noun in _BUILDINGS for index in groups.get(noun, ())]
    if built and rng.random() < 0.67:
        start = np.array(place.things[built[int(rng.integers(len(built)))]].middle)
        nearest = sorted(built, key=lambda index: float(np.hypot(*(np.array(place.things[index].middle) - start))))
        appears = bool(rng.random() < 0.6)
        for index in nearest[: int(rng.integers(1, 9))]:
            first[index], second[index] = not appears, appears
        if (roads := groups.get("road")) and rng.random() < 0.8:
            first[roads[0]], second[roads[0]] = not appears, appears
        return first, second
    # Kinds first, then things: a hundred houses shall not drown the one road.
    wanted, region_taken = int(rng.integers(1, 5)), False
    for _ in range(wanted):
        nouns = sorted(noun for noun, members in groups.items() if members)
        if not nouns:
            break
        members = groups[nouns[int(rng.integers(len(nouns)))]]
        thing_index = members.pop(int(rng.integers(len(members))))
        thing = place.things[thing_index]
        if thing.kind in _REGIONS:
            if region_taken:
                continue
            region_taken = True
        appears = bool(rng.random() < 0.5) if thing.appear and thing.vanish else bool(thing.appear)
        first[thing_index], second[thing_index] = not appears, appears
    return first, second


def _sees_middle(place: Place, index: int) -> bool:
    thing = place.things[index]
    if thing.noun == "road":
        return any(place.sees(x, y, -0.2 * place.half) for x, y in thing.shapes[0].points[::6]) or place.sees(
            *thing.middle, -0.1 * place.half
        )
    return place.sees(*thing.middle, -0.12 * place.half)


def read_changes(
    place: Place, states: tuple[list[bool], list[bool]], pictures: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[tuple[Change, ...], np.ndarray, np.ndarray]:
    """Changes that show, the (H, W) uint8 mask of all that differs and stands, and where it has vanished, (H, W) bool.

    Args:
        states: which things stand on either date.
        pictures: (semantic, things without vehicles) of either date in the frame of the first, each (H, W).
    """
    (semantic_a, things_a), (semantic_b, things_b) = pictures
    differs = (semantic_a != semantic_b) | (things_a != things_b)
    mask, vanished = np.zeros(differs.shape, np.uint8), np.zeros(differs.shape, bool)
    moved = [k for k, (a, b) in enumerate(zip(*states, strict=True)) if a != b]
    if not moved or not differs.any():
        return (), mask, vanished
    is_moved = np.zeros(len(place.things) + 1, bool)
    is_moved[moved] = True
    owner = np.where(is_moved[things_b], things_b, np.where(is_moved[things_a], things_a, -1))
    # Crowns over the edge of felled or flooded ground vanish with the trees they belong to.
    regions = [k for k in moved if place.things[k].kind in _REGIONS]
    rest = regions[0] if regions else moved[0]
    owner = np.where(owner < 0, rest, owner)
    changes = []
    for index in moved:
        thing = place.things[index]
        pixels = differs & (owner == index)
        rows, columns = np.nonzero(pixels)
        if not len(rows):
            continue
        mask[pixels], vanished[pixels] = thing.kind, states[0][index] != (thing.appear == "cleared")
        box = (float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1)
        action = thing.vanish if states[0][index] else thing.appear
        changes.append(Change(action=action, category=thing.noun, box_px=box, mask_value=thing.kind, area_px=len(rows)))
    return tuple(changes), mask, vanished
