"""Answers to questions: one spelling for what is the same answer, and when two answers are the same."""

from __future__ import annotations

import re
from collections.abc import Callable

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = {word: str(i) for i, word in enumerate(_SMALL)} | {word: str(10 * i) for i, word in enumerate(_TENS, 2)}
_NUMBERS |= {f"{t} {d}": str(10 * i + j) for i, t in enumerate(_TENS, 2) for j, d in enumerate(_SMALL[1:10], 1)}
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})\b")

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PUNCTUATION = re.compile(r"[.-](?!\d)|[^\w\s.%<>=²-]|_")
_ARTICLE = re.compile(r"^(?:a|an|the)\s+(?=[^\W\d_]{2})")

Same = Callable[[str, str, str], bool]
"""(prediction, answer, kind of question) -> right or wrong; both texts normalised, the prediction not empty."""


def normalise(text: str) -> str:
    """Lower-case, single spaces, no punctuation outside numbers, digits for number words up to 99, no leading article.

    "Twenty-one." -> "21", "The airport!" -> "airport", "1,200 m2" -> "1200 m2", "north-east" -> "north east". The
    article goes only when a word of two letters or more follows, so option "A." stays "a"; nothing else is removed, so
    no answer becomes a part of itself, and only a text without letters and digits becomes empty.
    """
    text = _THOUSANDS.sub("", text.lower())
    text = " ".join(_PUNCTUATION.sub(" ", text).split())
    text = _NUMBER_WORD.sub(lambda m: _NUMBERS[m.group()], text)
    return _ARTICLE.sub("", text) if any(c.isalnum() for c in text) else ""


def readable(prediction: str, answer: str) -> bool:
    """Whether a normalised prediction is of the answer's sort: not empty; yes or no; a number; any text."""
    if answer in ("yes", "no"):
        return prediction in ("yes", "no")
    if answer[:1].isdigit():
        return any(c.isdigit() for c in prediction)
    return bool(prediction)


def exact(prediction: str, answer: str, kind: str) -> bool:
    """The same text after `normalise`."""
    return prediction == answer


def rsvqa(prediction: str, answer: str, kind: str) -> bool:
    """As `exact`, but counts and areas are the same when they lie in one bin of RSVQA.

    Bins: 0, 1 to 10, 11 to 100, 101 to 1000, above 1000; written as a number ("26", "120m2") or as the bin's name
    ("between 10 and 100"). Lobry et al., "RSVQA: Visual question answering for remote sensing data", TGRS 2020.
    """
    if kind in ("count", "area"):
        left, right = _bin(prediction), _bin(answer)
        if left is not None and right is not None:
            return left == right
    return prediction == answer


_RANGES = {("0", "10"), ("1", "10"), ("10", "100"), ("11", "100"), ("100", "1000"), ("101", "1000")}
"""How RSVQA-LR and RSVQA-HR write their bins: "between 0 and 10", "between 11m2 and 100m2"."""

_QUANTITY = re.compile(r"(?:between (\d+)(?: ?m[2²])? and )?(more than )?(\d+(?:\.\d+)?)(?: ?m[2²])?")


def _bin(text: str) -> int | None:
    """Bin 0 to 4 of a number or of a bin's name; None for anything else."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    low, more, value = match.groups()
    if more:
        return 4 if value == "1000" and low is None else None
    if low is not None and (low, value) not in _RANGES:
        return None
    return sum(float(value) > edge for edge in (0, 10, 100, 1000))
