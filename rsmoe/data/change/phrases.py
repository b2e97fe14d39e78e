"""The English of the generated world: nouns, numbers, places and colours, with agreement.

The vocabulary is kept small on purpose (a few hundred words), so that a language model trained from scratch on
generated scenes learns the sentences and has to spend its capacity on the pictures.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rsmoe.data.change.cells import CELLS as CELLS

NO_CHANGE = (
    "the scene is the same as before",
    "there is no difference",
    "the two scenes seem identical",
    "no change has occurred",
    "almost nothing has changed",
)
"""The five captions that LEVIR-CC gives to every unchanged pair."""

SAYS_NO_CHANGE = (*NO_CHANGE, "no change is occurred", "almost nothing is changed")
"""By which a caption is recognised as one of no change: those of LEVIR-CC, and the two more of SECOND-CC."""

NUMBERS = tuple("zero one two three four five six seven eight nine ten eleven twelve".split())
"""Number words; larger counts are written "many" in captions and are not asked in questions."""

PLACES = (
    ("in the top left corner", "in the upper left", "at the top left"),
    ("at the top", "in the upper part", "at the top center"),
    ("in the top right corner", "in the upper right", "at the top right"),
    ("on the left", "on the left side", "in the left part"),
    ("in the center", "in the middle", "in the central part"),
    ("on the right", "on the right side", "in the right part"),
    ("in the bottom left corner", "in the lower left", "at the bottom left"),
    ("at the bottom", "in the lower part", "at the bottom center"),
    ("in the bottom right corner", "in the lower right", "at the bottom right"),
)
"""How each of `CELLS` is said in a sentence; the first wording is the one for unambiguous references."""

SIDES = {
    "top": ("in the upper half", "in the upper part"),
    "bottom": ("in the lower half", "in the lower part"),
    "left": ("in the left half", "on the left side"),
    "right": ("in the right half", "on the right side"),
}
"""How one half of the picture is said."""

SYNONYMS = {
    "airplane": ("airplane", "plane"),
    "storage tank": ("storage tank", "tank"),
    "swimming pool": ("swimming pool", "pool"),
}
"""Other nouns for a category; the first one is the category itself."""

COVER_NAMES = {
    "bare land": ("bare land", "bare ground"),
    "grass": ("grass", "grassland"),
    "forest": ("trees", "forest"),
    "water": ("water",),
    "farmland": ("farmland", "fields"),
    "sand": ("sand",),
    "rock": ("rocks",),
}
"""Land covers that sentences name, with their wordings; roads and buildings are named otherwise."""


def plural(noun: str) -> str:
    """The plural of a lower-case noun phrase: "swimming pool" -> "swimming pools"."""
    if noun == "aircraft":
        return noun
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def number_word(count: int) -> str:
    """ "three" for 3, "many" beyond `NUMBERS`."""
    return NUMBERS[count] if count < len(NUMBERS) else "many"


def noun_for(category: str, rng: random.Random) -> str:
    """The category or one of its synonyms."""
    return rng.choice(SYNONYMS.get(category, (category,)))


def counted(count: int, noun: str) -> str:
    """ "a car", "three cars", "many cars": exact up to twelve."""
    return with_article(noun) if count == 1 else f"{number_word(count)} {plural(noun)}"


def loosely_counted(count: int, noun: str, rng: random.Random) -> str:
    """Like `counted`, or in the vague words that annotators use: "some", "several", "many", "lots of"."""
    if count == 1:
        return with_article(noun)
    words: tuple[str, ...] = (number_word(count),)
    if 3 <= count <= 7:
        words = (number_word(count), number_word(count), "several", "some")
    elif count > 7:
        words = ("many", "many", "a lot of", "lots of", "dozens of" if count > 23 else "many")
    return f"{rng.choice(words)} {plural(noun)}"


def be(count: int) -> str:
    """ "is" or "are"."""
    return "is" if count == 1 else "are"


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a , b and c"."""
    return parts[0] if len(parts) == 1 else f"{' , '.join(parts[:-1])} and {parts[-1]}"


def cell_at(x: float, y: float, width: float, height: float) -> int:
    """Index in `CELLS` of a point in pixels."""
    column = min(2, max(0, int(3 * x / width)))
    row = min(2, max(0, int(3 * y / height)))
    return 3 * row + column


def sentence(text: str) -> str:
    """A caption's plain words in sentence case: capital first letter, commas and full stop attached."""
    text = text.strip().removesuffix(".").strip().replace(" ,", ",")
    return text[0].upper() + text[1:] + "."
