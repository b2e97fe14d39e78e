"""Parsing of command lines: Hydra's options, keys that take words literally, and keys that Hydra reads."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from rsmoe.config import quoted
from rsmoe.errors import UserError
from rsmoe.settings.model import Settings, verbatim

_HYDRA_PATHS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


def split_words(words: Sequence[str]) -> tuple[Namespace, list[str]]:
    """Hydra's options, and ``key=value`` words, in whatever order they were typed.

    Raises:
        UserError: an option that Hydra does not have, or bytes that are no text.
    """
    for word in words:
        if any("\ud800" <= sign <= "\udfff" for sign in word):
            raise UserError(f"cannot read {word!r}: it holds bytes that are not UTF-8; rename the file")
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    options = parser.parse_intermixed_args(list(words))
    given, options.overrides = options.overrides, []
    return options, given


def option_words(options: Namespace) -> list[str]:
    """Options as one would type them."""
    words = []
    for name, value in vars(options).items():
        if name != "overrides" and value not in (None, False):
            option = f"--{name.replace('_', '-')}"
            words.append(option if value is True else f"{option}={value}")
    return words


def spelled(word: str, settings: type[Settings]) -> str:
    """One ``key=value``, so that Hydra's grammar reads what was meant.

    A key that takes words gets them as typed: quotes, brackets, commas, ``$``, ``=``. Where it takes several,
    ``[a,b]`` is a list, split at its commas; an item that holds a comma goes in quotes, ``['a,b.tif',c.tif]``. ``null``
    is none where a key may have none.

    Raises:
        UserError: no ``key=value``.
    """
    name, equals, value = word.partition("=")
    key = name.lstrip("+~")
    if not equals:
        if word.startswith("~"):
            return word
        hint = ' A value with spaces goes in quotes: instruction="How many ships?"' if " " not in word else ""
        raise UserError(f"cannot read {word!r}: expected key=value; see --help.{hint}")
    if key in _HYDRA_PATHS and value[:1] + value[-1:] not in ("''", '""'):
        return f"{name}={quoted(value, interpolate=True)}"
    kind = verbatim(settings, key)
    if kind is None or (value == "null" and kind[1]) or name.startswith("~"):
        return word
    if value == "???":
        raise UserError(f"{key}=???: three question marks stand for a value that is missing; give more than these")
    if kind[0].many and value.startswith("[") and value.endswith("]"):
        return f"{name}=[{','.join(map(quoted, items(value)))}]"
    return f"{name}={quoted(value)}"


def items(value: str) -> list[str]:
    """Words of ``[a,'b,c',d]``: without the spaces around them, quotes only where they enclose a whole word."""
    found, rest = [], value[1:-1].strip()
    while rest:
        enclosed = re.match(r"""(['"])(.*?)\1\s*(?:,\s*|$)""", rest, re.DOTALL)
        if enclosed:
            found.append(enclosed[2])
            rest = rest[enclosed.end() :]
            continue
        word, comma, rest = rest.partition(",")
        found.append(word.strip())
        rest = rest.strip()
        if comma and not rest:
            found.append("")
    return found


def _refuse(message: str) -> NoReturn:
    known = [
        name for action in ArgumentParser._get_optional_actions(get_args_parser()) for name in action.option_strings
    ]
    raise UserError(
        f"{message}. Options: {', '.join(n for n in known if n.startswith('--'))}; anything else is key=value"
    )
