"""Json out of texts of unknown origin, with limits that are named in the error."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from rsmoe.data.files.text_files import read_text
from rsmoe.errors import UserError

MAX_DEPTH = 100
"""Lists and objects inside of one another; what is deeper cannot be printed, copied or sent to another process."""

MAX_DIGITS = 100
"""Digits of a whole number."""

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_DIGITS = re.compile(rf"{_STRING}|(?P<found>\d{{{MAX_DIGITS + 1}}})", re.DOTALL)
_CLOSING = re.compile(rf"{_STRING}|(?P<found>\}})", re.DOTALL)
_LONE_SURROGATE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_OPENING = re.compile(rb"[\[{]{%d}" % (MAX_DEPTH + 1))
_BRACKETS = b'"[]{}'
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))


class _TwiceError(Exception):
    """A key that an object has twice, and how many objects were closed before that one."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _LongNumberError(Exception):
    """A whole number of more than `MAX_DIGITS` digits."""


def read_json(path: Path) -> Any:
    """The content of a json file; see `parse_json` for what is refused.

    Raises:
        UserError: when the file is missing, empty, too large, no text or not json (naming the line and the fault).
    """
    text = read_text(path)
    return parse_json(text, str(path), size=f"; {path.stat().st_size} bytes", advice=_advice(text))


def parse_json(
    text: str, where: str, *, line: int | None = None, size: str = "", advice: str = "Download it again"
) -> Any:
    """The content of a json text. NaN and Infinity are read, as Python and pandas write them: they are no numbers.

    Args:
        text: all of it.
        where: what it is called in messages, "train.jsonl".
        line: the number of its line in that file; None where it is the whole file.
        size, advice: for the message.

    Raises:
        UserError: for a text that is not json, nested deeper than `MAX_DEPTH`, with a whole number of more than
            `MAX_DIGITS` digits, half of a surrogate pair, or an object that has a key twice.
    """

    def place(offset: int) -> str:
        return f"{where}, line {text.count(chr(10), 0, offset) + 1 if line is None else line}"

    if _depth_exceeds(text):
        where = where if line is None else f"{where}, line {line}"
        raise UserError(f"{where} is nested deeper than {MAX_DEPTH} lists and objects. {advice}")
    # a backslash that is itself escaped begins no code; spaces keep the offsets
    escaped = "\\ud" in text or "\\uD" in text
    if escaped and (found := _LONE_SURROGATE.search(text.replace("\\\\", "  "))):
        raise UserError(
            f"{place(found.start())}: {found[0]} is half of a character (a lone surrogate), which no text can hold. "
            "Remove it, or write the character whole"
        )
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole)
    except json.JSONDecodeError as error:
        if line is None:
            fault = f"{where} is not json ({error.msg}, line {error.lineno}, column {error.colno}{size})"
        else:
            fault = f"{where}, line {line}, is not json ({error.msg}, column {error.colno})"
        raise UserError(f"{fault}. {advice}") from error
    except RecursionError:
        raise UserError(f"{where} is nested too deep. {advice}") from None
    except _LongNumberError:
        offset = next(m.start() for m in _DIGITS.finditer(text) if m["found"])
        raise UserError(f"{place(offset)}: a number has more than {MAX_DIGITS} digits. {advice}") from None
    except _TwiceError as error:
        raise UserError(
            f"{place(_end_of_twice(text))}: an object has the key {error.key!r} twice. Keep one of the two"
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _LongNumberError
    return int(digits)


def _depth_exceeds(text: str) -> bool:
    """Whether brackets are nested deeper than `MAX_DEPTH`, without recursion and at the speed of a copy."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    rest = text.encode("utf-8", "replace").replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OTHERS)
    rest = re.sub(rb'"[^"]*"', b"", rest)
    for _ in range(MAX_DEPTH):  # each pass takes the innermost pairs away
        if _OPENING.search(rest):
            return True
        rest, before = rest.replace(b"[]", b"").replace(b"{}", b""), len(rest)
        if len(rest) == before:
            return len(rest) > MAX_DEPTH  # what does not close: deep, or not json, which the parser says better
    return bool(rest)


def _end_of_twice(text: str) -> int:
    """Where the first object with a key that is there twice ends: objects are closed in the order of their ends."""
    closed = 0

    def count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal closed
        found = _object(pairs)
        closed += 1
        return found

    with suppress(_TwiceError, _LongNumberError):
        json.loads(text, object_pairs_hook=count, parse_int=_whole)
    ends = (match.start() for match in _CLOSING.finditer(text) if match["found"])
    return next(end for i, end in enumerate(ends) if i == closed)


def _advice(text: str) -> str:
    """Json lines under the wrong suffix are the likeliest reason for a second value."""
    first, _, rest = text.partition("\n")
    if first.strip().endswith("}") and rest.lstrip().startswith("{"):
        return "It looks like one object a line: call it .jsonl"
    return "Download it again"
