"""Words that are no ``key=value``: the sentence that a command asks for."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence


def with_sentence(words: Sequence[str] | None) -> list[str]:
    """The words of a command, those that are neither a key nor an option joined as ``text=``.

    Args:
        words: None takes what was typed. Where they hold ``text=`` already, they stay as they are.
    """
    given = list(sys.argv[1:] if words is None else words)
    said = [word for word in given if not re.match(r"[-~]|\+*[\w.@/]+=", word)]
    if said and not any(word.startswith("text=") for word in given):
        return [f"text={' '.join(said)}", *(word for word in given if word not in said)]
    return given
