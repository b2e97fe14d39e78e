"""The one error that users are meant to read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any


class UserError(ValueError):
    """What was given, what was expected, and what to type next; entry points print it without a traceback."""


def unknown_name(kind: str, given: str, known: Iterable[str]) -> UserError:
    """A ``UserError`` for a mistyped name: the closest match first, then every name that exists.

    ``kind`` is the noun shown to the user ("experiment", "expert"), ``given`` what was typed.
    """
    names = sorted(set(known))
    close = get_close_matches(given, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UserError(f"unknown {kind} {given!r}.{hint} Known: {', '.join(names) or '(none)'}.")


def require_known(kind: str, *given: str, known: Collection[str]) -> None:
    """Refuses the first of these names that does not exist, as `unknown_name` tells."""
    for name in given:
        if name not in known:
            raise unknown_name(kind, name, known)


def shown(value: Any, longest: int = 80) -> str:
    """A value as an error shows it: as Python writes it, on one line, cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists a thousand deep
        text = f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= longest else f"{text[:longest]}..."
