"""The English of the generated world: nouns, places and land covers, with agreement.

The vocabulary is kept small on purpose (a few hundred words), so that a language model trained from scratch on
generated scenes learns the sentences and has to spend its capacity on the pictures.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rsmoe.data.change.phrases import number_word, plural, with_article

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


def noun_for(category: str, rng: random.Random) -> str:
    """The category or one of its synonyms."""
    return rng.choice(SYNONYMS.get(category, (category,)))


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
