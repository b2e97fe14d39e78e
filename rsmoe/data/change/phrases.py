"""English for sentences by rule: numbers, places, plurals, and what says that nothing has changed."""

from __future__ import annotations

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


def counted(count: int, noun: str) -> str:
    """ "a car", "three cars", "many cars": exact up to twelve."""
    return with_article(noun) if count == 1 else f"{number_word(count)} {plural(noun)}"


def sentence(text: str) -> str:
    """A caption's plain words in sentence case: capital first letter, commas and full stop attached."""
    text = text.strip().removesuffix(".").strip().replace(" ,", ",")
    return text[0].upper() + text[1:] + "."
