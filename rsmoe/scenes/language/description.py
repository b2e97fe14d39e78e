"""A detailed description in RSICap's style (RSGPT, arXiv 2307.15266), in parts by aspect.

The three aspects are those of RS-MoE's experts (arXiv 2411.01595): theme, objects, relations.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from rsmoe.data.change.phrases import counted, plural, sentence
from rsmoe.scenes.language.clauses import neighbouring_groups, neighbours, place, road_way, scene_noun, state
from rsmoe.scenes.language.facts import Group, SceneFacts, direction
from rsmoe.scenes.language.vocabulary import COVER_NAMES, be, listed

_DIRECTIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}


@dataclass(frozen=True, kw_only=True)
class Description:
    """Sentences of each aspect, in sentence case; `aspects.split_aspects` of ``text`` gives the same three parts."""

    theme: str
    """One sentence: what kind of picture of what kind of place, and what covers the ground."""
    objects: str
    """One or two sentences: objects with counts, colours and places."""
    relations: str
    """Up to three sentences: how things lie to each other and to the ground around them; "" if nothing is near."""

    @property
    def text(self) -> str:
        """The whole description."""
        return f"{self.theme} {self.objects} {self.relations}".rstrip()


def describe(facts: SceneFacts, rng: random.Random) -> Description:
    """A description of two to six sentences; every statement holds on the ground truth."""
    return Description(theme=_theme(facts, rng), objects=_objects(facts, rng), relations=_relations(facts, rng))


def resolution(gsd_m: float) -> str:
    """ "high", "medium" or "low": below 1 m, below 3 m, or coarser."""
    return "high" if gsd_m < 1 else "medium" if gsd_m < 3 else "low"


def _theme(facts: SceneFacts, rng: random.Random) -> str:
    scene = facts.scene
    kind = rng.choice(("aerial image", "satellite image", "remote sensing image"))
    opening = rng.choice((f"this is a {resolution(scene.gsd_m)} resolution {kind} of",
                          f"this {resolution(scene.gsd_m)} resolution {kind} shows"))  # fmt: skip
    where = rng.choice((f"{scene_noun(facts, rng)} in {scene.season}",
                        f"{scene_noun(facts, rng)} in {'an urban' if scene.urban else 'a rural'} setting"))  # fmt: skip
    covers = [(c, share) for c, share in facts.cover.items() if c in COVER_NAMES and share > 0.08][:3]
    if not covers:
        return sentence(f"{opening} {where}")
    names = [rng.choice(COVER_NAMES[c]) for c, _ in covers]
    if covers[0][1] > 0.6:
        return sentence(f"{opening} {where} , most of which is {names[0]}")
    return sentence(f"{opening} {where} , with {listed(names)}")


def _objects(facts: SceneFacts, rng: random.Random) -> str:
    groups = list(facts.groups.values())[:4]
    if not groups:
        return sentence("there are no buildings , vehicles or other objects to count")
    said = [_placed(g, rng) for g in groups]
    first = f"there {be(groups[0].count)} {listed(said[:2])}"
    if len(said) < 3:
        return sentence(first)
    more = f"{rng.choice(('also', 'in addition ,'))} there {be(groups[2].count)} {listed(said[2:])}"
    return f"{sentence(first)} {sentence(more)}"


def _placed(group: Group, rng: random.Random) -> str:
    noun = f"{group.color} {group.category}" if group.color and rng.random() < 0.6 else group.category
    where = place(group, rng)
    if not where and group.count > 3:
        where = rng.choice(("spread over the scene", "in different parts of the scene"))
    return f"{counted(group.count, noun)} {where}".rstrip()


def _relations(facts: SceneFacts, rng: random.Random) -> str:
    said = (_surrounded(facts, rng), _between_groups(facts, rng), _order(facts), _road(facts), _covers(facts, rng))
    return " ".join(sentence(text) for text in [text for text in said if text][:3])


def _the(group: Group) -> str:
    return f"the {group.category}" if group.count == 1 else f"the {plural(group.category)}"


def _surrounded(facts: SceneFacts, rng: random.Random) -> str:
    for group in list(facts.groups.values())[:3]:
        beside = neighbours(group, rng)
        if beside:
            doing = state(group, rng)
            both = f"{doing} and {beside}" if doing and "water" not in doing else beside
            return f"{_the(group)} {be(group.count)} {both}"
    return ""


def _between_groups(facts: SceneFacts, rng: random.Random) -> str:
    singles = [g for g in list(facts.groups.values())[:5] if g.count == 1]
    for i, first in enumerate(singles):
        for second in singles[i + 1 :]:
            where = direction(first.members[0], second.members[0], facts.width)
            if where:
                return f"{_the(first)} is {_DIRECTIONS[where]} {_the(second)}"
    pair = neighbouring_groups(facts)
    if pair is None:
        return ""
    return f"{_the(pair[0])} {be(pair[0].count)} {rng.choice(('next to', 'close to'))} {_the(pair[1])}"


def _order(facts: SceneFacts) -> str:
    group = next((g for g in facts.groups.values() if g.aligned), None)
    if group is None:
        return ""
    along = " along the road" if group.surroundings.get("road", 0) > 0.1 else ""
    return f"{_the(group)} are parallel to each other{along}"


def _road(facts: SceneFacts) -> str:
    angle = facts.road_angle_deg
    if angle is None or facts.share("road") < 0.03:
        return ""
    return f"a road runs {road_way(angle)} across the scene"


def _covers(facts: SceneFacts, rng: random.Random) -> str:
    covers = [c for c, share in facts.cover.items() if c in COVER_NAMES and share > 0.02][:2]
    if len(covers) < 2 or not facts.borders(*covers):
        return ""
    first, second = (rng.choice(COVER_NAMES[c]) for c in covers)
    return f"the {first} and the {second} lie next to each other"
