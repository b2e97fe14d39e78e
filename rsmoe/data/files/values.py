"""Values of json files and tables, checked and converted: texts, ids, numbers, missing values.

A text is a string. Where a release writes answers as numbers (2023, 0.45) those are texts too: 3.0 is "3", for pandas
makes floats of a column of counts in which one is missing. NaN, infinities, true, false, lists and objects never become
words. A string is what it says: "nan" and "None" are words.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from rsmoe.data.files.text_files import stripped
from rsmoe.errors import UserError

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_LIST = re.compile(r"\[\s*(['\"]).*\1\s*,?\s*\]", re.DOTALL)
_EXACT = 1 << 53
"""Whole numbers below are exact as floats."""


def is_number(value: object) -> bool:
    """Whether a value of a json is a finite number of at most 64 bits; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1 << 63 if isinstance(value, int) else math.isfinite(value)


def is_missing(value: object) -> bool:
    """Whether this is null, or NaN, which pandas writes for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def present(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what `is_missing`, as empty cells of a table are left out."""
    return {key: value for key, value in row.items() if not is_missing(value)}


def text_of(value: object, where: str, *, number: bool = False) -> str:
    """A text, `stripped`; it may be empty.

    Args:
        number: whether a finite number is a text here too: an answer, a name; 3.0 becomes "3".

    Raises:
        UserError: for anything else, and for a text with a NUL or half of a surrogate pair.
    """
    if number and isinstance(value, int | float) and is_number(value):
        return str(int(value)) if abs(value) < _EXACT and value == int(value) else str(value)
    if not isinstance(value, str):
        raise UserError(f"{where}: expected a text{' or a number' if number else ''}, found {shown(value)}")
    if _NO_TEXT.search(value):
        raise UserError(f"{where}: expected a text, found {shown(value)}, which holds a character that no text has")
    return stripped(value)


def written_text(value: object, where: str) -> str:
    """`text_of` of a reference or caption, where a number counts as text too.

    Raises:
        UserError: as `text_of`, and for a list in the words of Python, "['a', 'b']", as pandas puts it into a cell.
    """
    text = text_of(value, where, number=True)
    if _LIST.fullmatch(text):
        raise UserError(
            f"{where}: expected a text, found a list that was written as one, {shown(text)}. Write the texts one by "
            "one: in a json list, or in rows of their own"
        )
    return text


def id_of(value: object, where: str) -> str:
    """An id, `stripped` and in Unicode's form NFC; 7, 7.0 and "7" are one, "007" is another.

    Raises:
        UserError: for what is neither a text nor a whole number, and for an empty text.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and not value.is_integer():
        raise UserError(f"{where}: expected an id, a text or a whole number, found {shown(value)}")
    name = same_id(text_of(value, where, number=True))
    if not name:
        raise UserError(f"{where}: the id is empty")
    return name


def same_id(name: str) -> str:
    """One spelling of an id: macOS decomposes accents in file names, other systems do not."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def shown(value: object) -> str:
    """A value as a message names it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else str(value)
    kind = "a list " if isinstance(value, list) else "an object " if isinstance(value, dict) else ""
    return f"{kind}{repr(value)[:60]}"
