"""Parts of sentences that captions and descriptions share; each holds on the ground truth or is empty."""

from __future__ import annotations

import random

from rsmoe.data.change.phrases import PLACES, with_article
from rsmoe.scenes.language.facts import Group, SceneFacts, gap_px
from rsmoe.scenes.language.vocabulary import COVER_NAMES, SIDES

SCENE_NOUNS: dict[str, tuple[str, ...]] = {
    "residential area": ("residential area", "neighborhood", "housing area"),
    "industrial area": ("industrial area", "industrial zone"),
    "parking lot": ("parking lot", "car park"),
    "sports ground": ("sports ground", "sports park"),
    "crossroads": ("crossroads", "road junction"),
    "airport": ("airport", "airfield"),
    "harbor": ("harbor", "port"),
    "bridge": ("river crossing", "crossing over the water"),
    "storage tanks": ("tank farm", "fuel depot"),
    "solar farm": ("solar farm", "solar power station"),
    "farmland": ("piece of farmland", "farming area"),
    "forest": ("forest", "wooded area"),
    "desert": ("desert", "dry landscape"),
    "mountain": ("mountain area", "mountain landscape"),
    "river": ("river", "river landscape"),
    "lake": ("lake", "lake landscape"),
    "beach": ("beach", "sandy shore"),
}
"""Scene class -> noun phrases for a scene of that class; a class without an entry is called by its name."""


def scene_noun(facts: SceneFacts, rng: random.Random) -> str:
    """A noun phrase with its article: "an airport", "a tank farm"."""
    name = facts.scene.scene_class
    return with_article(rng.choice(SCENE_NOUNS.get(name, (name,))))


def state(group: Group, rng: random.Random) -> str:
    """What all vehicles of a group do, by the ground around them: "parked", "sailing on the water"; "" if unclear."""
    around = group.surroundings
    if group.category == "airplane":
        return "parked" if around.get("paved", 0) > 0.3 else ""
    if group.category in ("car", "truck"):
        if around.get("paved", 0) > 0.7:
            return "parked"
        return rng.choice(("on the road", "driving on the road")) if around.get("road", 0) > 0.7 else ""
    if group.category in ("ship", "boat"):
        return rng.choice(("sailing", "floating")) + " on the water" if around.get("water", 0) > 0.95 else ""
    return ""


def place(group: Group, rng: random.Random) -> str:
    """Where all members are: "in the top left corner", "in the left half"; "" where the group is spread out."""
    if group.cell is not None:
        return rng.choice(PLACES[group.cell])
    return rng.choice(SIDES[group.side]) if group.side else ""


def neighbours(group: Group, rng: random.Random) -> str:
    """The cover around a group as a phrase: "surrounded by water", "next to the grass"; "" where none stands out."""
    for cover, share in group.surroundings.items():
        if cover in COVER_NAMES and share > 0.15:
            name = rng.choice(COVER_NAMES[cover])
            if share > 0.75:
                return f"surrounded by {name}"
            return f"{rng.choice(('next to', 'near', 'beside'))} the {name}"
    return ""


def road_way(angle_deg: float) -> str:
    """The direction of a straight road in words; ``angle_deg`` as `SceneFacts.road_angle_deg`."""
    if min(angle_deg, 180 - angle_deg) < 20:
        return "from left to right"
    return "from top to bottom" if abs(angle_deg - 90) < 20 else "diagonally"


def neighbouring_groups(facts: SceneFacts) -> tuple[Group, Group] | None:
    """Two prominent groups of one to three members, every member within 10 % of the picture of the other group."""
    groups = [g for g in list(facts.groups.values())[:5] if g.count <= 3]
    for i, first in enumerate(groups):
        for second in groups[i + 1 :]:
            gaps = [[gap_px(a, b) for b in second.members] for a in first.members]
            nearest = [min(row) for row in gaps] + [min(column) for column in zip(*gaps, strict=True)]
            if max(nearest) < 0.1 * facts.width:
                return first, second
    return None
