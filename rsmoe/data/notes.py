"""Notes that stand before a question, and how an answer cites them: one form for training and for every request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

ASKED = "What is known of this place?"
"""The earlier question of the dialogue that notes are the answer to: the language model reads them, while the Q-Former
and the router read the question alone."""
UNKNOWN = "unknown"
"""What a model learns to answer where neither the picture nor a note tells."""

_MARK = re.compile(r"\s*\[\s*(\d+)\s*\]")


@dataclass(frozen=True, kw_only=True)
class Note:
    """A short text that is known of a place."""

    id: str
    """What an answer cites: unique in its store."""
    text: str


def notes_turn(texts: Sequence[str]) -> tuple[str, str]:
    """One or more notes as a turn of `Sample.history`, numbered from 1."""
    return ASKED, " ".join(f"[{number}] {text}" for number, text in enumerate(texts, start=1))


def citation(number: int) -> str:
    """How an answer cites a note, at its end."""
    return f" [{number}]"


def cited(text: str, notes: Sequence[Note]) -> tuple[str, tuple[str, ...]]:
    """An answer without its citations, and the ids that it cites, each once; numbers without a note cite nothing."""
    numbers = dict.fromkeys(int(number) for number in _MARK.findall(text))
    return _MARK.sub("", text).strip(), tuple(notes[n - 1].id for n in numbers if 1 <= n <= len(notes))
