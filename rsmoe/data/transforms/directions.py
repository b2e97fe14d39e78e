"""Direction words that follow their picture through the eight symmetries of the square.

A text is rewritten only where its words can be read in one way. A word is either

- **sure**: "on the left", "upper right corner", "in the north": it turns with the picture;
- **doubtful**: "right next to", "top of the building", "the road above the river": perhaps a place in the picture,
  perhaps not. It stays, and only symmetries that leave the direction alone are possible;
- **fixed** to something else than the picture ("turns left", "the left wing", "[12, 30, 45, 60]"): none is possible.

Compass words turn like the others, north being up, as captions use them. What is written must read well and lead back:
a symmetry whose inverse would not restore the text word by word counts as impossible.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.data.transforms.symmetries import IDENTITY, inverse, mirrors, swaps_axes, turn_vector

Vector = tuple[float, float]

_LEFT, _RIGHT, _UP, _DOWN = (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)
_SIDES = {"left": _LEFT, "right": _RIGHT, "top": _UP, "bottom": _DOWN}
_COMPASS = {"west": _LEFT, "east": _RIGHT, "north": _UP, "south": _DOWN}
_FAMILIES: tuple[dict[str, Vector], ...] = (
    _SIDES,
    {"leftmost": _LEFT, "rightmost": _RIGHT, "topmost": _UP, "bottommost": _DOWN},
    {"upper": _UP, "lower": _DOWN},
    {"uppermost": _UP, "lowermost": _DOWN},
    {"up": _UP, "down": _DOWN},
)
_VECTORS = {word: vector for family in _FAMILIES for word, vector in family.items()}

_TOKEN = re.compile(
    r"\b(?:(?P<skip>top[- ](?:down|views?)|bottom[- ]up|right[- ]angle[ds]?|right of way|up to|above analysis"
    r"|diagonal(?:ly)?)"
    r"|(?P<v>top|bottom|upper|lower)(?P<vsep>[- ]?)(?P<h>left|right)"
    r"|(?P<h2>left|right)(?P<hsep>[- ]?)(?P<v2>top|bottom|upper|lower)"
    r"|(?P<ns>north|south)(?P<csep>[- ]?)(?P<ew>east|west)(?P<corner>ern(?:most)?|erly|wards?|bound|most)?"
    r"|(?P<compass>north|south|east|west)(?P<suffix>ern(?:most)?|erly|wards?|bound|most)?"
    r"|(?P<axis>vertical|horizontal)(?:ly)?"
    r"|(?P<spin>(?:counter|anti)?-?clockwise)"
    r"|(?P<word>(?:left|right|top|bottom|upper|lower)(?:most)?|up|down)"
    r"|(?P<relief>above|below|beneath|underneath|upwards?|downwards?))\b",
    re.IGNORECASE,
)

_PICTURE = r"(?:image|picture|photo|photograph|scene|frame|view|tile|patch|map|screen|aerial image|satellite image)\b"
_PLACE = (
    r"(?:sides?|parts?|half|halves|edges?|corners?|portions?|areas?|regions?|sections?|borders?|boundary|boundaries|"
    r"quarters?|thirds?|margins?|ends?|centre|center|middle|quadrants?|strip)\b"
)
_AFTER = re.compile(
    r"\s*(?:$|[.,;:!?)]|(?:and|or|but|is|are|was|were|there|with|while|where|which|that|has|have|had|in|on|at|by|to|"
    r"into|as|beside|near|next|along|(?:appear|disappear|remain|becom|replac|turn|extend|stretch|surround|continu|"
    rf"connect|join)\w*|of (?:the|this|an?) (?:\w+ )?{_PICTURE})\b)",
    re.IGNORECASE,
)
_NOUN = re.compile(rf"\s+{_PLACE}", re.IGNORECASE)
_HAND = re.compile(rf"[- ]hand(?:[- ]side)?\b(?:\s+{_PLACE})?", re.IGNORECASE)
_OF = re.compile(r"\s+of\b", re.IGNORECASE)
_OF_PICTURE = re.compile(rf"\s+of (?:the|this|an?) (?:\w+ )?{_PICTURE}", re.IGNORECASE)
_BEFORE = re.compile(
    r"\b(?P<in>on|at|in|to|from|toward|towards|along|near) the (?P<far>(?:far|very|extreme) )?$", re.IGNORECASE
)
_CENTRE = re.compile(r"\b(?:center|centre|middle|central)[- ]$", re.IGNORECASE)
_SPAN = re.compile(
    r"\b(?:from (?:left to right|right to left|top to bottom|bottom to top)"
    r"|(?:left|right) (?:and|or) (?:left|right)(?= sides?\b| part| half| halves| corner| edge|[.,;]|$)"
    r"|(?:top|bottom) (?:and|or) (?:top|bottom)(?= sides?\b| part| half| halves| corner| edge|[.,;]|$))",
    re.IGNORECASE,
)
_CORNER = r"(?:top|bottom|upper|lower)[- ]?(?:left|right)"
_LISTED = (
    re.compile(rf"{_CORNER}(?:,| and| or| to|/)*\s*(?:the )?$", re.IGNORECASE),
    re.compile(rf"\s*(?:,|and|or|to|/)+\s*(?:the )?{_CORNER}", re.IGNORECASE),
)
_BARE = re.compile(
    r"(?:\W|\b(?:the|in|on|at|and|or|to|from|of|image|picture|scene|photo|left|right|top|bottom|upper|lower|up|down|"
    r"(?:left|right|top|bottom|upper|lower)most|(?:top|bottom|upper|lower)(?:left|right)|center|centre|central|middle|"
    r"sides?|corners?|parts?|edges?|half|diagonal|both)\b)*",
    re.IGNORECASE,
)
"""An answer that is nothing but a place: every word of it is sure."""

_RELATION = {"left": _LEFT, "right": _RIGHT, "above": _UP, "below": _DOWN}
_RELATED = re.compile(r"\b(?:relative to|in relation to|with respect to|seen from)\b", re.IGNORECASE)
"""A question after the place of one thing beside another: its answers are of one family, which no place is."""

_RELIEF = re.compile(
    r"\b(?:hill|mountain|ridge|slope|cliff|peak|tower|roof|rooftop|volcano|dune|dam|stairs|pyramid)s?\b", re.IGNORECASE
)
_PERPENDICULAR = re.compile(
    r"\b(?:cross\w*|across|intersect\w*|each others?|another|perpendicular\w*|to the)\b"
    r"|\b(?:vertical|horizontal)(?:ly)? (?:view|shot|structure|wall|height|image|imagery|photo|perspective|accuracy)",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"\s+(?:america|korea|africa|asia|europe|carolina|dakota|virginia|pole|sea|bank|hemisphere|ireland|sudan|timor)\b",
    re.IGNORECASE,
)
_COORDINATES = re.compile(r"[\[(<{]\s*-?\d[\d.]*\s*[,>]")
_FIXED = re.compile(
    r"\b(?:turn(?!\w* into)|bend|curv|veer|swerv|steer|driv)\w*\W+(?:\w+\W+){0,4}?(?:left|right)\b"
    r"|\b(?:left|right)(?:[- ]hand)?[- ](?:turn(?!s? into)|wing|engine|lane|bank|wheel|traffic|front|rear)s?\b"
    r"|\b(?:front|rear|back)[- ](?:left|right)\b|\b(?:its|their|his|her|your|my) (?:left|right)\b"
    r"|\b(?:left|right)(?:[- ]hand)?(?: side)? of (?:the|this|an?|each) (?:\w+ )?"
    r"(?:air)?(?:plane|craft|liner|ship|boat|car|truck|vehicle|bus|train|helicopter|driver)s?\b"
    r"|\b(?:first|second|third|fourth|fifth|last|\d+(?:st|nd|rd|th)) (?:row|column)s?\b"
    r"|\b(?:main|major|minor|sub|anti|counter|back|secondary)[- ]?diagonal"
    r"|o'clock|°|\b(?:\d+[- ]degrees?|azimuth|heading|bearing|latitude|longitude)\b"
    r"|(?-i:\b(?:N|S|E|W|NE|NW|SE|SW|NNE|SSW|NNW|SSE)\b)",
    re.IGNORECASE,
)


def has_coordinates(*texts: str) -> bool:
    """Whether a text holds numbers in brackets, as boxes are written."""
    return any(_COORDINATES.search(text) for text in texts)


@lru_cache(maxsize=2**14)
def rewrite(text: str, symmetry: int) -> str | None:
    """The text that is true of the turned picture as ``text`` is of the picture, or None where that is not sure.

    ``rewrite(rewrite(text, g), inverse(g)) == text`` wherever the first is not None. A text without direction words
    comes back as it is.
    """
    if symmetry == IDENTITY:
        return text
    turned = _rewritten(text, symmetry)
    return turned if turned is not None and _rewritten(turned, inverse(symmetry)) == text else None


def turn_sample(sample: Sample, symmetry: int) -> Sample | None:
    """The sample with instruction, history and responses rewritten, or None where one of them cannot be.

    Its arrays are left as they are. Answers in coordinates cannot be rewritten; nor can a directional sample in which
    no direction word is found, for then its direction is written in words that this module does not know.
    """
    texts = (sample.instruction, *sample.responses, *(text for turn in sample.history for text in turn))
    if symmetry == IDENTITY:
        return sample
    if find_task(sample.task).answer == "boxes" or has_coordinates(*texts):
        return None
    if not sample.directional:
        return sample
    if not any(_TOKEN.search(text) for text in texts):
        return None
    asked = [sample.instruction] * (1 + len(sample.responses))
    asked += [question for question, _ in sample.history for _ in range(2)]
    turned = [_answered(text, question, symmetry) for text, question in zip(texts, asked, strict=True)]
    if None in turned:
        return None
    words = [text for text in turned if text is not None]
    after = 1 + len(sample.responses)
    history = tuple(zip(words[after::2], words[after + 1 :: 2], strict=True))
    return replace(sample, instruction=words[0], responses=tuple(words[1:after]), history=history)


def _answered(text: str, question: str, symmetry: int) -> str | None:
    """`rewrite`, or where one thing lies seen from another, for an answer to such a question."""
    vector = _RELATION.get(text.lower()) if _RELATED.search(question) else None
    if vector is None:
        return rewrite(text, symmetry)
    turned = turn_vector(vector, symmetry)
    return _cased(text, next(word for word, v in _RELATION.items() if v == turned))


def _rewritten(text: str, symmetry: int) -> str | None:
    if _FIXED.search(text) or has_coordinates(text):
        return None
    bare = _BARE.fullmatch(text) is not None
    done, at = "", 0
    for match in _TOKEN.finditer(text):
        word = _token(match, text, symmetry, bare)
        if word is None:
            return None
        before = text[at : match.start()]
        if word != match[0]:
            if not _NOUN.match(text, match.end()):
                before = _preposition(before, match[0], word)
            before = re.sub(r"\b([Aa])n? $", r"\1n " if word[0] in "aeuAEU" else r"\1 ", before)
        done, at = done + before + word, match.end()
    return done + text[at:]


def _token(match: re.Match[str], text: str, symmetry: int, bare: bool) -> str | None:
    """What stands in the place of one direction word, or None."""
    found, before, after = match[0], text[: match.start()], text[match.end() :]
    if match["v"] or match["v2"]:
        if re.match(r"\s+(?:next|beside|behind|now|angles?)\b", after, re.IGNORECASE):
            return _kept(found, _sum(match["v"] or match["v2"], match["h"] or match["h2"]), symmetry)
        x, y = turn_vector(_sum(match["v"] or match["v2"], match["h"] or match["h2"]), symmetry)
        vertical = _cased(match["v"] or match["v2"], _of((match["v"] or match["v2"]).lower(), (0.0, y)))
        level = _cased(match["h"] or match["h2"], "left" if x < 0 else "right")
        return f"{vertical}{match['vsep']}{level}" if match["v"] else f"{level}{match['hsep']}{vertical}"
    if match["skip"]:
        return found
    if match["ns"] or match["compass"]:
        return _compass(match, before, after, symmetry)
    if match["axis"]:
        if not swaps_axes(symmetry):
            return found
        if _PERPENDICULAR.search(text):
            return None
        other = "horizontal" if match["axis"].lower() == "vertical" else "vertical"
        return _cased(found, other + found[len(match["axis"]) :].lower())
    if match["spin"]:
        if not mirrors(symmetry):
            return found
        return _cased(found, "counterclockwise" if found.lower() == "clockwise" else "clockwise")
    if match["relief"]:
        return _kept(found, _UP, symmetry)
    word = found.lower()
    if not (bare or _sure(match, text, before, after, symmetry)):
        return _kept(found, _VECTORS[word], symmetry)
    if swaps_axes(symmetry) and (_LISTED[0].search(before) or _LISTED[1].match(after)):
        return None  # "lower left and right" leaves a word out, which the other axis would need
    turned = _of(word, turn_vector(_VECTORS[word], symmetry))
    return None if turned is None else _cased(found, turned)


def _sure(match: re.Match[str], text: str, before: str, after: str, symmetry: int) -> bool:
    """Whether left, right, top ... is a place in the picture, and stays good English under the symmetry."""
    word, across = match["word"].lower(), swaps_axes(symmetry)
    if word in ("up", "down"):
        return False
    if word.endswith("most"):
        return True
    if _HAND.match(after):
        return word in ("left", "right") and not across
    steep = word not in ("left", "right") and _RELIEF.search(text) is not None
    if any(span.start() <= match.start() < span.end() for span in _SPAN.finditer(text)) or _CENTRE.search(before):
        return not steep
    if _NOUN.match(after):
        return not steep or bool(re.match(rf"\s+\w+{_OF_PICTURE.pattern}", after, re.IGNORECASE))
    place = _BEFORE.search(before)
    if word in ("upper", "lower") or place is None:
        return False
    if across and (place["far"] or place["in"].lower() == "to"):
        return False
    if word in ("left", "right"):
        return _AFTER.match(after) is not None or not across and _OF.match(after) is not None
    return _AFTER.match(after) is not None and (not steep or _OF_PICTURE.match(after) is not None)


def _compass(match: re.Match[str], before: str, after: str, symmetry: int) -> str | None:
    ns, ew, suffix = match["ns"], match["ew"] or match["compass"], match["corner"] or match["suffix"] or ""
    vector = _sum(ns, ew) if ns else _COMPASS[ew.lower()]
    opens = re.search(r"(?:^|[.!?:]\s*|\bthe )$", before) is not None
    if _NAME.match(after) or match[0][0].isupper() and (re.match(r"\s+[A-Z]", after) or not opens):
        return _kept(match[0], vector, symmetry)  # South Korea
    x, y = turn_vector(vector, symmetry)
    if not ns:
        return _cased(ew, next(word for word, v in _COMPASS.items() if v == (x, y))) + suffix
    vertical, level = "north" if y < 0 else "south", "west" if x < 0 else "east"
    return _cased(ns, vertical) + match["csep"] + _cased(ew, level) + suffix


def _preposition(before: str, old: str, new: str) -> str:
    """One stands on the left and at the top."""
    pair = (old.lower() in ("left", "right"), new.lower() in ("left", "right"))
    if pair == (True, False) and new.lower() in ("top", "bottom"):
        return re.sub(r"\b([Oo])n the $", lambda m: ("A" if m[1] == "O" else "a") + "t the ", before)
    if pair == (False, True) and old.lower() in ("top", "bottom"):
        return re.sub(r"\b([Aa])t the $", lambda m: ("O" if m[1] == "A" else "o") + "n the ", before)
    return before


def _kept(found: str, vector: Vector, symmetry: int) -> str | None:
    """A doubtful word stays where both readings stay true."""
    return found if turn_vector(vector, symmetry) == vector else None


def _sum(vertical: str, level: str) -> Vector:
    vectors = _VECTORS | _COMPASS
    a, b = vectors[vertical.lower()], vectors[level.lower()]
    return (a[0] + b[0], a[1] + b[1])


def _of(word: str, vector: Vector) -> str | None:
    """The word of the same family for another direction, where there is one."""
    family = next(family for family in _FAMILIES if word in family)
    return next((other for other, v in family.items() if v == vector), None)


def _cased(model: str, word: str | None) -> str:
    assert word is not None
    return word.upper() if model.isupper() else word.capitalize() if model[0].isupper() else word
