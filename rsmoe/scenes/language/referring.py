"""Referring expressions that fit exactly one object of a scene, and can be checked to."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rsmoe.data.change.phrases import PLACES
from rsmoe.scenes.language.facts import SceneFacts, center
from rsmoe.scenes.scene import SceneObject

ORDERS = ("largest", "smallest", "leftmost", "rightmost", "topmost", "bottommost")
"""Superlatives that single out one of several objects."""

SMALLEST_PX = 12
"""Visible pixels of what can be referred to."""
REQUESTS = ("Segment {0}.", "Please mark {0}.", "Show the pixels of {0}.", "Where exactly is {0}? Give a mask.")
ANSWERS = ("the {0} is here [SEG]", "this is the {0} [SEG]", "here is the {0} [SEG]")
"""How a mask of what an expression fits is asked for, and given."""

_NEAR = ("road", "water", "forest", "farmland")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What an expression says. Empty fields say nothing; the others narrow down the objects in the order below."""

    category: str
    color: str = ""
    cell: int | None = None
    """Index in `phrases.CELLS` of the centre."""
    order: str = ""
    """One of `ORDERS`: first of those that remain, by a clear margin."""
    closest_to: str = ""
    """Land cover that the object is closest to of those that remain, by a clear margin."""

    @property
    def text(self) -> str:
        """The expression: "the largest white ship", "the red house in the top left corner"."""
        words = ["the", self.order, self.color, self.category]
        if self.cell is not None:
            words.append(PLACES[self.cell][0])
        if self.closest_to:
            words.append(f"closest to the {self.closest_to}")
        return " ".join(word for word in words if word)

    def matches(self, facts: SceneFacts) -> tuple[SceneObject, ...]:
        """The objects of the scene that the expression fits; a superlative without a clear margin fits none."""
        left = [o for o in facts.scene.objects if o.category == self.category]
        if self.color:
            left = [o for o in left if o.color == self.color]
        if self.cell is not None:
            # An object on the line between two cells could be meant as well: the expression is not clear then.
            if any(facts.clear_cell(o) is None for o in left):
                return ()
            left = [o for o in left if facts.cell(o) == self.cell]
        if self.order:
            left = _first(left, facts, self.order)
        if self.closest_to:
            left = _closest(left, facts, self.closest_to)
        return tuple(left)


def refer_to_one(
    scenes: Sequence[SceneFacts], rng: random.Random, *, least_px: float = SMALLEST_PX
) -> tuple[SceneFacts, Reference, SceneObject]:
    """`refer` on the first of several scenes in which something can be referred to."""
    for facts in scenes:
        if found := refer(facts, rng, least_px=least_px):
            return facts, *found
    raise RuntimeError(f"no object of {len(scenes)} scenes can be referred to")


def refer(
    facts: SceneFacts, rng: random.Random, *, least_px: float = SMALLEST_PX
) -> tuple[Reference, SceneObject] | None:
    """An expression and the one object of at least ``least_px`` visible pixels that it fits; None if there is none.

    Every category is as likely to be referred to as any other of the scene, so that the many cars of a parking lot
    are not what most expressions are about.
    """
    pixel_m2 = facts.scene.gsd_m**2
    targets = [o for o in facts.scene.objects if o.area_m2 >= least_px * pixel_m2]
    crowd = Counter(o.category for o in targets)
    # Weighted shuffle (Efraimidis and Spirakis 2006) with weight 1 / number of that category.
    targets.sort(key=lambda o: rng.random() ** crowd[o.category], reverse=True)
    for target in targets[:6]:
        candidates = _candidates(facts, target)
        rng.shuffle(candidates)
        for reference in candidates:
            if reference.matches(facts) == (target,):
                return reference, target
    return None


def _candidates(facts: SceneFacts, target: SceneObject) -> list[Reference]:
    """What could be said of the object, whether it is unique or not."""
    name, color = target.category, target.color
    if facts.counts[name] == 1:
        plain = [Reference(category=name)]
        colored = [Reference(category=name, color=color)] if color else []
        return plain + colored + [Reference(category=name, cell=facts.cell(target))]
    colors = ["", color] if color else [""]
    found = [Reference(category=name, color=color)] if color else []
    for said in colors:
        found.append(Reference(category=name, color=said, cell=facts.cell(target)))
        found += [Reference(category=name, color=said, order=order) for order in ORDERS]
        found += [Reference(category=name, color=said, closest_to=cover) for cover in _NEAR]
    return found


def _first(things: list[SceneObject], facts: SceneFacts, order: str) -> list[SceneObject]:
    """The extreme object in a list of one, or nothing where the runner-up is too close to it."""
    if len(things) < 2:
        return []
    if order in ("largest", "smallest"):
        ranked = sorted(things, key=lambda o: o.area_m2, reverse=order == "largest")
        first, second = ranked[0].area_m2, ranked[1].area_m2
        return ranked[:1] if max(first, second) > 1.3 * min(first, second) else []
    axis, length = (0, facts.width) if order in ("leftmost", "rightmost") else (1, facts.height)
    ranked = sorted(things, key=lambda o: center(o)[axis], reverse=order in ("rightmost", "bottommost"))
    return ranked[:1] if abs(center(ranked[0])[axis] - center(ranked[1])[axis]) > 0.05 * length else []


def _closest(things: list[SceneObject], facts: SceneFacts, cover: str) -> list[SceneObject]:
    if len(things) < 2:
        return []
    ranked = sorted((facts.distance_px(o, cover), i) for i, o in enumerate(things))
    (near, index), (next_near, _) = ranked[:2]
    clear = math.isfinite(near) and next_near - near > 0.06 * facts.width
    return [things[index]] if clear else []
