"""Answers to change questions: one way to write each, and the strict way back from text to what was said.

Forms of ChangeChat-105k (Deng et al., "DeltaVLM", arXiv:2507.22346): "Yes" and "No"; counts as "No roads has changed,
and no buildings has changed.", "There are no changes in roads or buildings.", "2 new roads and 5 new buildings" (the
forms that its evaluation and its dialogues hold); cells as "roads: ['top-left']. buildings: []." (by its evaluation and
a public reader of it; the release itself was not at hand). A text that does not say the whole answer gives None, for a
metric to count as a failure: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rsmoe.data.change.cells import CELLS, in_order
from rsmoe.data.change.phrases import NUMBERS, plural

CHANGE_CLASSES = ("road", "building")
"""What ChangeChat counts and places; in this order in its answers."""

_VALUES = {word: i for i, word in enumerate(NUMBERS)} | {"no": 0, "a": 1, "an": 1}
_NUMBER = rf"(?:\d{{1,6}}|{'|'.join(sorted(_VALUES, key=len, reverse=True))})"
_PART = re.compile(  # of a range, a bound, an estimate, a longer number
    r"(?:\b(?:to|or|than|least|most|about|around|roughly|approximately|nearly|almost|over) |\d\s*[-–~]\s*|[\d.,–~-]"
    r"|\b(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|dozen) (?:and )?)$"
)
_PRESENCE = re.compile(r"(yes|no)(?:[.!]*|[,.!:;-]\s+(?!(?:yes|no)\b).*)", re.DOTALL)


def write_presence(changed: bool) -> str:
    """ "Yes" or "No"."""
    return "Yes" if changed else "No"


def parse_presence(text: str) -> bool | None:
    """Whether a text answers yes or no: alone, or as its first word before a comma or a full stop; None otherwise.

    "No change has occurred" is None (it describes, it does not answer), and so is "Yes. No.".
    """
    match = _PRESENCE.fullmatch(text.strip().lower())
    return None if match is None else match[1] == "yes"


def write_counts(counts: Mapping[str, int]) -> str:
    """ "2 roads have changed, and no buildings have changed."; counts by class, in the order of the mapping."""
    said = [
        f"{count or 'no'} {noun if count == 1 else plural(noun)} {'has' if count == 1 else 'have'} changed"
        for noun, count in counts.items()
    ]
    text = ", and ".join(filter(None, (", ".join(said[:-1]), said[-1])))
    return text[0].upper() + text[1:] + "."


def parse_counts(text: str, classes: Sequence[str] = CHANGE_CLASSES) -> dict[str, int] | None:
    """Counts by class; None unless each class is counted, once or the same twice.

    A count is a whole number, a word from "zero" to "twelve", "a" or "no", right before the noun ("new" may stand
    between). "no" holds for all nouns of "no changes in roads or buildings". Ranges and hedges ("2 or 3 roads", "more
    than 3 roads", "about 3 roads"), fractions and uncounted mentions ("many buildings") give None.
    """
    text = " ".join(text.lower().split())
    nouns = {form: noun for noun in classes for form in (noun, plural(noun))}
    noun = rf"(?:{'|'.join(sorted(map(re.escape, nouns), key=len, reverse=True))})\b"
    none = rf"\bno (?:changes? (?:in|of) )?(?:new )?{noun}(?:(?:, {noun})*,? (?:or|and|nor) (?:new )?{noun})?(?!:? ?\d)"
    found: dict[str, int] = {}
    mentions = {match.start(): match[0] for match in re.finditer(rf"\b{noun}", text)}
    for match in re.finditer(rf"{none}|(?<![\w-])({_NUMBER}) (?:new )?{noun}", text):
        said = match[1] or "no"
        if match[1] and _PART.search(text[: match.start()]):
            return None
        for place in [p for p in mentions if match.start() <= p < match.end()]:
            name = nouns[mentions.pop(place)]
            value = int(said) if said.isdigit() else _VALUES[said]
            if found.setdefault(name, value) != value:
                return None
    return None if mentions or set(found) != set(classes) else {name: found[name] for name in classes}


def write_cells(cells: Mapping[str, Sequence[str]]) -> str:
    """ "roads: ['top-left', 'center-center']. buildings: []."; cells by class, in the order of the mapping."""
    return " ".join(
        f"{plural(noun)}: [{', '.join(repr(cell) for cell in in_order(named))}]." for noun, named in cells.items()
    )


def parse_cells(text: str, classes: Sequence[str] = CHANGE_CLASSES) -> dict[str, tuple[str, ...]] | None:
    """Cells by class, in the order of `CELLS`; None unless the text is one list for each class, of known cells alone.

    Colons, quotes and full stops may be missing, as in ChangeChat's training text ("roads ['top-left'] buildings []").
    """
    rest = " ".join(text.lower().split())
    names = {form: noun for noun in classes for form in (noun, plural(noun))}
    noun = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    item = re.compile(rf"({noun})\s?:?\s?\[([^\[\]]*)\]\s?[.,;]?\s*(?:and\s)?")
    found: dict[str, tuple[str, ...]] = {}
    while rest:
        match = item.match(rest)
        if match is None or names[match[1]] in found:
            return None
        listed = [part.strip(" '\"") for part in match[2].split(",")] if match[2].strip() else []
        if not set(listed) <= set(CELLS):
            return None
        found[names[match[1]]] = in_order(listed)
        rest = rest[match.end() :]
    return {name: found[name] for name in classes} if set(found) == set(classes) else None


def read_target(asks: str, answer: str, classes: Sequence[str] = CHANGE_CLASSES) -> dict[str, Any] | None:
    """What an answer says, as the entry of `Sample.meta` that metrics compare.

    Args:
        asks: "presence" -> {"changed": bool}; "count" -> {"change_counts": {class: n}}; "location" ->
            {"change_cells": {class: cells}}; anything else has no target, {}.

    Returns:
        None for an answer that cannot be read.
    """
    keys = {"presence": "changed", "count": "change_counts", "location": "change_cells"}
    if asks not in keys:
        return {}
    value: Any
    if asks == "presence":
        value = parse_presence(answer)
    else:
        value = parse_counts(answer, classes) if asks == "count" else parse_cells(answer, classes)
    return None if value is None else {keys[asks]: value}
