"""Five short captions of a scene, in the register of UCM-Captions and RSICD, and nothing in them that is not true.

Every sentence has a maker that returns None where the scene does not support it; the writer draws makers until it has
five different sentences. The first is always about the whole scene, as annotators start with what the picture shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from rsmoe.data.change.phrases import counted, plural, with_article
from rsmoe.scenes.language.clauses import neighbouring_groups, neighbours, place, road_way, scene_noun, state
from rsmoe.scenes.language.facts import Group, SceneFacts
from rsmoe.scenes.language.vocabulary import COVER_NAMES, be, listed, loosely_counted, noun_for

_FRAMES = ("image", "picture", "scene")
_ROOFED = ("house", "building", "warehouse", "factory", "hangar")


def short_captions(facts: SceneFacts, rng: random.Random) -> tuple[str, ...]:
    """Five different captions, lower case, words and the final full stop separated by single spaces."""
    written = [_theme(facts, rng)]
    for maker in rng.sample(_MAKERS, len(_MAKERS)) + [_there_are, _theme, _cover, _covers] * 20:
        text = maker(facts, rng)
        if text is not None and text not in written:
            written.append(text)
        if len(written) == 5:
            break
    rng.shuffle(written)
    return tuple(f"{text} ." for text in written)


def _subject(facts: SceneFacts, rng: random.Random) -> Group | None:
    groups = list(facts.groups.values())
    return rng.choice(groups[:4]) if groups else None


def _objects(facts: SceneFacts, rng: random.Random, most: int) -> str:
    """One to ``most`` groups as a list: "many houses , two cars and a swimming pool"."""
    groups = list(facts.groups.values())[:4]
    chosen = rng.sample(groups, min(len(groups), rng.randint(1, most)))
    chosen.sort(key=lambda g: -sum(o.area_m2 for o in g.members))
    return listed([_phrase(g, rng) for g in chosen]) if chosen else ""


def _phrase(group: Group, rng: random.Random) -> str:
    noun = noun_for(group.category, rng)
    roofed = group.category in _ROOFED
    if group.color and rng.random() < 0.5:
        if roofed and rng.random() < 0.5:
            roof = f"with {with_article(group.color)} roof" if group.count == 1 else f"with {group.color} roofs"
            return f"{loosely_counted(group.count, noun, rng)} {roof}"
        noun = f"{group.color} {noun}"
    return loosely_counted(group.count, noun, rng)


def _theme(facts: SceneFacts, rng: random.Random) -> str:
    noun = scene_noun(facts, rng)
    opening = rng.choice(("this is", "it is", "the image shows", "here is", "we can see"))
    objects = _objects(facts, rng, 2)
    if objects and rng.random() < 0.6:
        return f"{opening} {noun} with {objects}"
    cover = next((c for c, share in facts.cover.items() if c in COVER_NAMES and share > 0.1), "")
    if cover and cover not in noun and rng.random() < 0.6:
        return f"{opening} {noun} with {_some(cover, rng)}"
    return f"{opening} {noun} in {facts.scene.season}"


def _there_are(facts: SceneFacts, rng: random.Random) -> str | None:
    objects = _objects(facts, rng, 3)
    if not objects:
        return None
    first = "is" if objects.startswith(("a ", "an ")) and not objects.startswith("a lot of") else "are"
    where = rng.choice(("in this place", f"in {scene_noun(facts, rng)}", f"in the {rng.choice(_FRAMES)}"))
    return f"there {first} {objects} {where}"


def _state(facts: SceneFacts, rng: random.Random) -> str | None:
    group = _subject(facts, rng)
    doing = state(group, rng) if group else ""
    if group is None or not doing:
        return None
    where = place(group, rng) if rng.random() < 0.5 else f"in {scene_noun(facts, rng)}"
    return f"{_phrase(group, rng)} {be(group.count)} {doing} {where}".rstrip()


def _place(facts: SceneFacts, rng: random.Random) -> str | None:
    group = _subject(facts, rng)
    where = place(group, rng) if group else ""
    if group is None or not where:
        return None
    if rng.random() < 0.5:
        return f"{where} of the {rng.choice(_FRAMES)} there {be(group.count)} {_phrase(group, rng)}"
    return f"{_phrase(group, rng)} {be(group.count)} located {where} of the {rng.choice(_FRAMES)}"


def _surroundings(facts: SceneFacts, rng: random.Random) -> str | None:
    group = _subject(facts, rng)
    beside = neighbours(group, rng) if group else ""
    return f"{_phrase(group, rng)} {be(group.count)} {beside}" if group and beside else None


def _cover(facts: SceneFacts, rng: random.Random) -> str | None:
    cover, share = next(((c, s) for c, s in facts.cover.items() if c in COVER_NAMES), ("", 0.0))
    if share < 0.2:
        return None
    amount = "most of" if share > 0.6 else "about half of" if 0.42 < share < 0.58 else "a part of"
    name = rng.choice(COVER_NAMES[cover])
    verb = rng.choice(("is covered with", "is covered by"))
    return f"{amount} the {rng.choice(('ground', 'scene', 'area'))} {verb} {name}"


def _trees(facts: SceneFacts, rng: random.Random) -> str | None:
    share = facts.share("forest")
    if share > 0.55:
        return rng.choice(
            ("dense trees grow in this place", "the trees stand close to each other", "the forest is dense")
        )
    if 0.03 < share < 0.2:
        return rng.choice(("there are only a few trees here", "a few trees grow in this place", "the trees are sparse"))
    return None


def _covers(facts: SceneFacts, rng: random.Random) -> str | None:
    """Two land covers that touch, the smaller one first."""
    covers = [c for c, share in facts.cover.items() if c in COVER_NAMES and share > 0.03]
    pairs = [(b, a) for i, a in enumerate(covers) for b in covers[i + 1 :] if facts.borders(a, b)]
    if not pairs:
        return None
    first, second = (rng.choice(COVER_NAMES[c]) for c in rng.choice(pairs))
    verb = "are" if first.endswith("s") and first != "grass" else "is"
    return f"the {first} {verb} {rng.choice(('next to', 'beside', 'at the edge of'))} the {second}"


def _empty(facts: SceneFacts, rng: random.Random) -> str | None:
    if facts.groups or facts.share("building"):
        return None
    return rng.choice(
        ("there is no building in this place", "no building can be seen here", "the place is free of buildings")
    )


def _water(facts: SceneFacts, rng: random.Random) -> str | None:
    """What lies around a river or a lake."""
    name = facts.scene.scene_class
    around = facts.around("water")
    if name not in ("river", "lake") or not around:
        return None
    cover, share = next(iter(around.items()))
    if cover not in COVER_NAMES or share < 0.4:
        return None
    other = rng.choice(COVER_NAMES[cover])
    if share > 0.75:
        return rng.choice((f"the {name} is surrounded by {other}", f"a {name} with {other} on all sides"))
    return f"a {name} is {rng.choice(('next to', 'near'))} the {other}"


def _color(facts: SceneFacts, rng: random.Random) -> str | None:
    group = _subject(facts, rng)
    if group is None or not group.color:
        return None
    noun = noun_for(group.category, rng)
    if group.category in _ROOFED:
        subject = f"the roof of the {noun}" if group.count == 1 else f"the roofs of the {plural(noun)}"
    else:
        subject = f"the {noun if group.count == 1 else plural(noun)}"
    return f"{subject} {be(group.count)} {group.color}"


def _rows(facts: SceneFacts, rng: random.Random) -> str | None:
    group = next((g for g in facts.groups.values() if g.aligned), None)
    if group is None:
        return None
    along = " along the road" if group.surroundings.get("road", 0) > 0.1 else ""
    how = rng.choice(("arranged neatly", "parallel to each other", "in neat order", "lined up"))
    return f"{_phrase(group, rng)} are {how}{along}"


def _density(facts: SceneFacts, rng: random.Random) -> str | None:
    group = next((g for g in facts.groups.values() if g.category in ("house", "building", "warehouse")), None)
    share = facts.share("building")
    if group is None or group.count < 3 or 0.08 < share < 0.2:
        return None
    noun = plural(group.category)
    if share > 0.2:
        return rng.choice((f"the {noun} are packed closely together", f"the {noun} stand close to each other"))
    return rng.choice((f"the {noun} are scattered over the area", f"there are only a few {noun} in a wide area"))


def _road(facts: SceneFacts, rng: random.Random) -> str | None:
    if facts.share("road") < 0.03:
        return None
    angle = facts.road_angle_deg
    noun = scene_noun(facts, rng)
    if angle is None:
        return rng.choice((f"a road passes through {noun}", f"{noun} has a road in it"))
    way = road_way(angle)
    return rng.choice((f"a road runs {way} through {noun}", f"{noun} is crossed {way} by a road"))


def _together(facts: SceneFacts, rng: random.Random) -> str | None:
    pair = neighbouring_groups(facts)
    if pair is None:
        return None
    first, second = pair if rng.random() < 0.5 else pair[::-1]
    near = rng.choice(("next to", "near", "close to", "beside"))
    return f"{_phrase(first, rng)} {be(first.count)} {near} {counted(second.count, noun_for(second.category, rng))}"


def _some(cover: str, rng: random.Random) -> str:
    name = rng.choice(COVER_NAMES[cover])
    return f"some {name}" if name.endswith("s") and name != "grass" and rng.random() < 0.5 else name


_MAKERS: tuple[Callable[[SceneFacts, random.Random], str | None], ...] = (
    _theme, _there_are, _there_are, _state, _place, _place, _surroundings, _surroundings, _cover, _covers, _trees,
    _empty, _water, _color, _rows, _density, _road, _together,
)  # fmt: skip
