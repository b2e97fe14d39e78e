"""Change captions for pairs of generated scenes, in LEVIR-CC's register (https://github.com/Chen-Yang-Liu/RSICC)."""

from __future__ import annotations

import random
from collections import defaultdict

from rsmoe.data.change.phrases import NO_CHANGE, plural
from rsmoe.scenes.language.change_places import cell_phrase, ground_of, ground_phrase, road_phrase
from rsmoe.scenes.language.vocabulary import be, loosely_counted
from rsmoe.scenes.scene import LAND_COVER, Change, ScenePair

CLASSES = {1: "building", 2: "road", 3: "water", 4: "vegetation", 5: "object"}
"""Values of `ScenePair.change_mask`."""

CHANGE_KINDS = ("no change", *(f"{which} {noun}" for which in ("new", "lost") for noun in CLASSES.values()))
"""Values of the class map of a pair: what changed, and in which direction."""

_NATURE = {
    "flooded": ("the water has risen", "the land is flooded", "water covers the land"),
    "drained": ("the water has receded", "the water is gone", "the water disappears"),
    "cleared": (
        "some trees are removed", "some trees have been removed", "some plants are removed", "some trees disappear",
        "some woods are removed",
    ),
    "planted": ("some trees are planted", "some trees appear", "more trees appear", "some plants appear"),
}  # fmt: skip
_COVERED = {
    "bare land": ("bareland",),
    "grass": ("grass", "grassland"),
    "forest": ("trees", "woods"),
    "farmland": ("farmland",),
}
"""Grounds that things replace, or give way to."""
_BUILDINGS = {"building", "house", "warehouse"}
_WATER = LAND_COVER.index("water")


def change_captions(pair: ScenePair, rng: random.Random) -> tuple[str, ...]:
    """Five different captions, lower case, with a separate full stop."""
    if not pair.changes:
        return tuple(f"{text} ." for text in rng.sample(NO_CHANGE, len(NO_CHANGE)))
    written: list[str] = []
    for attempt in range(60):
        text = _caption(pair, rng)
        if text not in written or attempt > 50:
            written.append(text)
        if len(written) == 5:
            break
    return tuple(f"{text} ." for text in written)


def _caption(pair: ScenePair, rng: random.Random) -> str:
    """One or two actions; what goes is said before what comes."""
    groups: dict[tuple[str, str], list[Change]] = defaultdict(list)
    # Two houses and a warehouse are three buildings, and never one building beside them.
    mixed = len({change.category for change in pair.changes} & _BUILDINGS) > 1
    for change in pair.changes:
        groups[change.action, "building" if mixed and change.category in _BUILDINGS else change.category].append(change)
    chosen = list(groups.items())
    rng.shuffle(chosen)
    chosen = sorted(chosen[: rng.choice((1, 2, 2))], key=lambda group: group[0][0] in ("built", "planted"))
    if len(chosen) == 2 and chosen[0][0][0] == chosen[1][0][0] == "built" and rng.random() < 0.6:
        (first, some), (second, others) = ((category, changes) for (_, category), changes in chosen)
        things = f"{_amount(len(some), first, rng)} and {_amount(len(others), second, rng)}"
        return _built(pair, things, 2, [*some, *others], rng)
    return " and ".join(_clause(pair, category, changes, rng) for (_, category), changes in chosen)


def _clause(pair: ScenePair, category: str, changes: list[Change], rng: random.Random) -> str:
    """One action on one category."""
    action, count = changes[0].action, len(changes)
    ground = ground_of(pair, changes)
    if action == "cleared" and ground in _COVERED and rng.random() < 0.3:
        return f"some trees are replaced by {rng.choice(_COVERED[ground])}"
    if action in _NATURE:
        if action == "flooded" and not (pair.before.semantic == _WATER).any() and rng.random() < 0.4:
            return f"a lake appears {cell_phrase(pair, changes, rng)}".rstrip()
        if action == "drained" and not (pair.after.semantic == _WATER).any() and rng.random() < 0.4:
            return f"a lake disappears {cell_phrase(pair, changes, rng)}".rstrip()
        where = cell_phrase(pair, changes, rng) if rng.random() < 0.6 else ""
        return f"{rng.choice(_NATURE[action])} {where}".rstrip()
    things = _amount(count, category, rng)
    if action == "built":
        return _built(pair, things, count, changes, rng)
    if ground in _COVERED and rng.random() < 0.3:
        return f"{things} {be(count)} replaced by {rng.choice(_COVERED[ground])}"
    has, s = ("has", "s") if count == 1 else ("have", "")
    verb = rng.choice((f"{be(count)} removed", f"{be(count)} removed", f"{has} been removed", f"disappear{s}"))
    road = road_phrase(pair, changes, rng) if rng.random() < 0.4 else ""
    where = cell_phrase(pair, changes, rng) if rng.random() < 0.4 else ""
    return " ".join(filter(None, (things, road, verb, where)))


def _built(pair: ScenePair, things: str, count: int, changes: list[Change], rng: random.Random) -> str:
    """What has come, on what, where."""
    ground = ground_of(pair, changes)
    if ground in _COVERED and rng.random() < 0.2:
        old = rng.choice(_COVERED[ground])
        are = "are" if old in ("trees", "woods") else "is"
        return rng.choice(
            (f"{things} replace{'s' if count == 1 else ''} the {old}", f"the {old} {are} replaced by {things}")
        )
    has, s = ("has", "s") if count == 1 else ("have", "")
    built, seen = (f"{be(count)} built", f"appear{s}")
    verb = rng.choice((built, built, built, seen, seen, f"{be(count)} constructed", f"{has} been built"))
    said = " ".join(filter(None, (things, verb, _place(pair, changes, ground, rng))))
    if ground == "forest" and rng.random() < 0.4:
        return f"some trees are removed and {said}"
    return said


def _place(pair: ScenePair, changes: list[Change], ground: str, rng: random.Random) -> str:
    """Up to two of: beside the road, on what ground, in which part of the scene."""
    ways = (
        road_phrase(pair, changes, rng),
        ground_phrase(pair, ground, rng),
        cell_phrase(pair, changes, rng),
    )
    true = [way for way in ways if way]
    kept = set(rng.sample(true, min(len(true), rng.choice((0, 1, 1, 2)))))
    return " ".join(way for way in true if way in kept)


def _amount(count: int, category: str, rng: random.Random) -> str:
    """Like `loosely_counted`; two are sometimes "some", as LEVIR-CC's annotators count."""
    noun = rng.choice((category, "large building")) if category == "warehouse" else category
    return f"some {plural(noun)}" if count == 2 and rng.random() < 0.35 else loosely_counted(count, noun, rng)
