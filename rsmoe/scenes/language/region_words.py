"""What is asked about a region or for boxes, and what can be said of a thing."""

from __future__ import annotations

import random

from rsmoe.data.boxes.region import REGION
from rsmoe.data.change.phrases import PLACES, with_article
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.language.vocabulary import COVER_NAMES
from rsmoe.scenes.scene import SceneObject

WHERE = ("Where is {0}?", "Give the box of {0}.", "Locate {0}.")
ORIENTED = ("Where is {0}? Give an oriented box.", "Give the oriented box of {0}.")
EVERY = ("Find every {0}.", "Give the boxes of every {0}.")
PHRASES = ("Ground this caption: {0}.", "Give a box for each phrase: {0}.")
DESCRIBE = (f"Describe the thing in {REGION}.", f"Please describe what is in {REGION}.")
WHAT = (f"What is in {REGION}?", f"Which object is in {REGION}?")
COLOUR = (f"What colour is the thing in {REGION}?", f"Which colour has the object in {REGION}?")
COLOUR_AGAIN = ("What colour is it?", "Which colour has it?")
DESCRIBE_AGAIN = ("Please describe it.", "Describe it.")
"""How things are asked for; the last two of what was spoken of before."""


def named(thing: SceneObject) -> str:
    """ "a white house"."""
    return with_article(" ".join(word for word in (thing.color, thing.category) if word))


def descriptions(facts: SceneFacts, thing: SceneObject, rng: random.Random) -> tuple[str, ...]:
    """Three descriptions of one thing: what it is, on or beside which land cover, and where in the picture."""
    around = {cover: share for cover, share in facts.surroundings((thing,)).items() if cover in (*COVER_NAMES, "road")}
    beside = ""
    if around:
        cover, share = next(iter(around.items()))
        names = COVER_NAMES.get(cover, (cover,))
        beside = f" surrounded by {rng.choice(names)}" if share > 0.6 else f" next to {with_road(rng.choice(names))}"
    places = rng.sample(PLACES[facts.cell(thing)], 2)
    what = named(thing)
    return f"{what}{beside} {places[0]}", f"{what} {places[1]}{beside}", f"there is {what} {places[0]}{beside}"


def with_road(cover: str) -> str:
    """Land covers are masses; a road is one of several."""
    return with_article(cover) if cover == "road" else cover
