"""Answers of one scene to every question that could be asked of it, by kind and subject.

Each function returns ``{subject: answer}`` and leaves out what has no clear answer (a share between two words, an
object on the line between two cells). ``categories`` are the object categories that questions may be about.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

from rsmoe.data.change.phrases import NUMBERS, number_word, plural
from rsmoe.scenes.language.description import resolution
from rsmoe.scenes.language.facts import SceneFacts, direction
from rsmoe.scenes.language.referring import ORDERS, Reference
from rsmoe.scenes.language.vocabulary import COVER_NAMES
from rsmoe.scenes.scene import SceneObject

POSITIONS = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right")
"""Answers to "where is": the cells of the 3 x 3 grid."""

_HABITAT = {
    "ship": ("water", 0.05),
    "boat": ("water", 0.05),
    "bridge": ("water", 0.02),
    "airplane": ("paved", 0.1),
    "car": ("road", 0.01),
    "truck": ("road", 0.01),
}
"""Where a category could be: its absence is asked about only where this land cover has at least this share."""

_SEEN = 0.004
"""Share of the picture from which an object's colour and place are asked for: 4 x 4 pixels of 64 x 64."""

_USES = {
    "fly": ("airplane", "runway"),
    "berth": ("ship", "pier"),
    "sport": ("tennis court", "basketball court", "football field", "baseball diamond"),
    "sunlight": ("solar array",),
    "fuel": ("storage tank",),
}
"""What a place is good for -> categories that show it."""


def _presence(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    found = {name: "yes" for name in facts.counts}
    for name in categories:
        cover, share = _HABITAT.get(name, ("", 0.0))
        if name not in found and facts.share(cover) >= share:
            found[name] = "no"
    for cover in ("forest", "water", "farmland", "road", "grass"):
        share = facts.share(cover)
        if share == 0 or share > 0.02:  # a few pixels are neither clearly there nor clearly absent
            found.setdefault(cover, "yes" if share else "no")
    return found


def _count(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    return {name: number_word(facts.counts[name]) for name in categories if facts.counts[name] < len(NUMBERS)}


def _quantity(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    return {name: number_word(n) for name, n in facts.counts.items() if n < len(NUMBERS)}


def _comparison(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    counts = facts.counts
    return {
        f"{a}|{b}": "yes" if counts[a] > counts[b] else "no"
        for a, b in permutations(categories, 2)
        if counts[a] + counts[b] > 0
    }


def _area(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    return {cover: amount for cover in COVER_NAMES if (amount := _amount(facts.share(cover)))}


def _amount(share: float) -> str:
    """A share in words; "" between two words, where either could be said."""
    for word, low, high in (
        ("none", 0.0, 0.0),
        ("a small part", 0.02, 0.14),
        ("about a quarter", 0.19, 0.32),
        ("about half", 0.40, 0.58),
        ("most of it", 0.68, 1.0),
    ):
        if low <= share <= high:
            return word
    return ""


def _rural_urban(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    built = sum(facts.share(cover) for cover in ("building", "paved", "road"))
    return {} if abs(built - 0.2) < 0.04 else {"": "urban" if facts.scene.urban else "rural"}


def _color(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    groups = [g for g in facts.groups.values() if g.color and _seen(facts, *g.members)]
    found = {g.category if g.count == 1 else plural(g.category): g.color for g in groups}
    return found | {name: thing.color for name, thing in _outstanding(facts).items() if thing.color}


def _ab_position(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    cells = {name: facts.clear_cell(thing) for name, thing in _unique(facts).items()}
    return {name: POSITIONS[cell] for name, cell in cells.items() if cell is not None}


def _re_position(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    return {
        f"{a}|{b}": where
        for (a, first), (b, second) in permutations(_unique(facts).items(), 2)
        if (where := direction(first, second, facts.width))
    }


def _unique(facts: SceneFacts) -> dict[str, SceneObject]:
    """Objects with a name that fits no other and says nothing of their place: "bridge", "largest house"."""
    single = {g.category: g.members[0] for g in facts.groups.values() if g.count == 1 and _seen(facts, *g.members)}
    return single | {name: thing for name, thing in _outstanding(facts).items() if name.split()[0] in ORDERS[:2]}


def _outstanding(facts: SceneFacts) -> dict[str, SceneObject]:
    """ "largest house", "leftmost ship": the one object of several that clearly is."""
    found = {}
    for group in facts.groups.values():
        for order in ORDERS if group.count > 1 else ():
            match = Reference(category=group.category, order=order).matches(facts)
            if match and _seen(facts, match[0]):
                found[f"{order} {group.category}"] = match[0]
    return found


def _seen(facts: SceneFacts, *things: SceneObject) -> bool:
    """Whether the objects together are large enough for their colour and place to be seen."""
    return sum(o.area_m2 for o in things) >= _SEEN * facts.height * facts.width * facts.scene.gsd_m**2


def _area_comp(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    covers = sorted(c for c in (*COVER_NAMES, "road") if facts.share(c) > 0.03)
    pairs = [(a, b) for i, a in enumerate(covers) for b in covers[i + 1 :]]
    shares = {c: facts.share(c) for c in covers}
    return {
        f"{a}|{b}": max(a, b, key=shares.__getitem__)
        for a, b in pairs
        if max(shares[a], shares[b]) > 1.5 * min(shares[a], shares[b])
    }


def _road_ori(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    angle = facts.road_angle_deg
    if angle is None:
        return {}
    off = min(angle % 90, 90 - angle % 90)
    if 20 < off < 28:
        return {}
    if off >= 28:
        return {"": "diagonal"}
    return {"": "vertical" if 45 < angle < 135 else "horizontal"}


def _image(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    sharp = resolution(facts.scene.gsd_m)
    answers = {"season": facts.scene.season}
    return answers if sharp == "medium" else answers | {"resolution": "yes" if sharp == "high" else "no"}


def _scene(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    return {"": facts.scene.scene_class}


def _reasoning(facts: SceneFacts, categories: tuple[str, ...]) -> dict[str, str]:
    farmland, houses = facts.share("farmland"), facts.counts["house"]
    answers = {"crops": "yes" if farmland > 0.2 else "no" if farmland == 0 else "",
               "homes": "yes" if houses >= 3 else "no" if houses == 0 else ""}  # fmt: skip
    answers |= {
        subject: "yes" if any(name in facts.counts for name in makers) else "no"
        for subject, makers in _USES.items()
        if any(name in categories for name in makers)
    }
    return {subject: answer for subject, answer in answers.items() if answer}


ANSWERS: dict[str, Callable[[SceneFacts, tuple[str, ...]], dict[str, str]]] = {
    "presence": _presence,
    "count": _count,
    "comparison": _comparison,
    "area": _area,
    "rural_urban": _rural_urban,
    "quantity": _quantity,
    "color": _color,
    "ab_position": _ab_position,
    "re_position": _re_position,
    "area_comp": _area_comp,
    "road_ori": _road_ori,
    "image": _image,
    "scene": _scene,
    "reasoning": _reasoning,
}
"""Kind -> answers of a scene to every question of that kind."""
