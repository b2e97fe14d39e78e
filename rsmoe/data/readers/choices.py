"""Questions with lettered choices: the choices out of one text, and the request that they are put in."""

from __future__ import annotations

import re

from rsmoe.errors import UserError

LETTERS = "ABCDEFGHIJKLMNOP"
"""What choices are called, in this order."""

_SLOT = re.compile(r"\{(\w*)\}")


def lettered(choices: str, where: str) -> dict[str, str]:
    """ "A. tower B. road" as {"A": "tower", "B": "road"}; each letter is looked for behind the one before.

    Raises:
        UserError: when the text does not begin with "A." or has no second choice.
    """
    starts: list[re.Match[str]] = []
    for letter in LETTERS:
        mark = re.compile(rf"(?:^|(?<=[\s,;])){letter}[.)]\s*").search(choices, starts[-1].end() if starts else 0)
        if mark is None:
            break
        starts.append(mark)
    if len(starts) < 2 or starts[0].start() != 0:
        raise UserError(f"{where}: expected choices as 'A. ... B. ...', found {choices[:60]!r}")
    ends = [mark.start() for mark in starts[1:]] + [len(choices)]
    return {
        letter: choices[mark.end() : end].strip(" \n\t,;")
        for letter, mark, end in zip(LETTERS, starts, ends, strict=False)
    }


def fill(request: str, **values: str) -> str:
    """``request`` with each ``{name}`` replaced; braces inside of the values stay as they are.

    Raises:
        UserError: for a name that has no value, and for a request without ``{question}``.
    """
    slots = set(_SLOT.findall(request))
    if "question" not in slots or not slots <= set(values):
        raise UserError(
            f"request={request!r} should hold {{question}} and may hold {', '.join(f'{{{name}}}' for name in values)}"
        )
    return _SLOT.sub(lambda slot: values[slot[1]], request)
