"""Json and jsonl out of texts of unknown origin, with limits that are named in the error."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from rsmoe.data.files.text_files import iter_lines, read_text, stripped
from rsmoe.errors import UserError

MAX_DEPTH = 100
"""Lists and objects inside of one another; what is deeper cannot be printed, copied or sent to another process."""

MAX_DIGITS = 100
"""Digits of a whole number."""

_LONE_SURROGATE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_OPENING = re.compile(rb"[\[{]{%d}" % (MAX_DEPTH + 1))
_BRACKETS = b'"[]{}'
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))


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
        where: what it is called in messages, "train.jsonl".
        line: the number of its line in that file; None where it is the whole file.
        size, advice: for the message.

    Raises:
        UserError: for a text that is not json, nested deeper than `MAX_DEPTH`, with a whole number of more than
            `MAX_DIGITS` digits, half of a surrogate pair, or an object that has a key twice.
    """
    place = where if line is None else f"{where}, line {line}"

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise UserError(f"{place}: an object has the key {twice!r} twice: {str(found)[:80]}. Keep one of the two")
        return found

    def whole(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise UserError(f"{place}: a number has more than {MAX_DIGITS} digits, {digits[:20]}... {advice}")
        return int(digits)

    if _depth_exceeds(text):
        raise UserError(f"{place} is nested deeper than {MAX_DEPTH} lists and objects. {advice}")
    # a backslash that is itself escaped begins no code; spaces keep the offsets
    escaped = "\\ud" in text or "\\uD" in text
    if escaped and (found := _LONE_SURROGATE.search(text.replace("\\\\", "  "))):
        at = place if line is not None else f"{where}, line {text.count(chr(10), 0, found.start()) + 1}"
        raise UserError(
            f"{at}: {found[0]} is half of a character (a lone surrogate), which no text can hold. "
            "Remove it, or write the character whole"
        )
    try:
        return json.loads(text, object_pairs_hook=mapping, parse_int=whole)
    except json.JSONDecodeError as error:
        if line is None:
            fault = f"{where} is not json ({error.msg}, line {error.lineno}, column {error.colno}{size})"
        else:
            fault = f"{where}, line {line}, is not json ({error.msg}, column {error.colno})"
        raise UserError(f"{fault}. {advice}") from error
    except RecursionError:
        raise UserError(f"{where} is nested too deep. {advice}") from None


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


def _advice(text: str) -> str:
    """Json lines under the wrong suffix are the likeliest reason for a second value."""
    first, _, rest = text.partition("\n")
    if first.strip().endswith("}") and rest.lstrip().startswith("{"):
        return "It looks like one object a line: call it .jsonl"
    return "Download it again"


def read_jsonl(path: Path) -> list[tuple[str, Any]]:
    """(place, value) of every line that is not blank; the place, "file.jsonl, line 3", is for messages.

    Raises:
        UserError: when the file is missing, is no text, or has a line that is not json (naming it).
    """
    found = []
    for number, line in iter_lines(path):
        if text := stripped(line):
            value = parse_json(text, str(path), line=number, advice="Correct the line, or copy the file again")
            found.append((f"{path.name}, line {number}", value))
    return found


def read_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(place for messages, object) of every row of a .jsonl file, or of a .json that holds one list.

    Raises:
        UserError: for a file that is missing or not json, and a row that is no object (naming it).
    """
    if path.suffix.lower() == ".jsonl":
        rows = read_jsonl(path)
    else:
        content = read_json(path)
        if not isinstance(content, list):
            raise UserError(f"{path.name}: expected a list of objects, found {type(content).__name__}")
        rows = [(f"{path.name}, [{i}]", row) for i, row in enumerate(content)]
    for where, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected an object, found {type(row).__name__} {str(row)[:60]!r}")
    return rows
