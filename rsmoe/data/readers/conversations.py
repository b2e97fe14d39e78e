"""Dialogues as instruction releases write them: turns of questions and answers out of a list of messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rsmoe.data.files.text_files import stripped
from rsmoe.data.readers.annotations import field
from rsmoe.errors import UserError

_PLACEHOLDER = re.compile(r"\s*<(image|video)>\s*")
_COORDINATES = re.compile(r"[\[{<(][^a-zA-Z\]})]*?(?:\d+[^a-zA-Z\]})\d]+){3}\d")


@dataclass(frozen=True, kw_only=True)
class DialogueForm:
    """Names that a release gives to the parts of a dialogue; the defaults are LLaVA's."""

    messages: str = "conversations"
    """Key of the list."""
    speaker: str = "from"
    """Key of who speaks."""
    text: str = "value"
    """Key of what is said."""
    asks: str = "human"
    """The speaker that asks."""
    answers: str = "gpt"
    """The speaker that answers."""
    by_place: bool = False
    """Whether a message without a speaker is by the one whose turn it is; else it is an error."""


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """What one row says."""

    turns: tuple[tuple[str, str], ...]
    """(question, answer), without placeholders."""
    images: int
    """Number of ``<image>`` placeholders; a ``<video>`` stands for all frames."""
    unused: tuple[str, ...] = ()
    """Why a turn was left out, one reason each."""


def read_dialogue(row: dict[str, Any], form: DialogueForm, where: str) -> Dialogue:
    """The turns of one row.

    A turn with an empty question or answer and a last question without an answer are left out, with the reason.

    Args:
        row: an object that holds ``form.messages``.

    Raises:
        UserError: for missing keys (naming them), unknown speakers, and messages that do not alternate from a question.
    """
    messages = field(row, form.messages, list, where)
    turns: list[tuple[str, str]] = []
    unused: list[str] = []
    images = 0
    question = ""
    for i, message in enumerate(messages):
        place = f"{where}, {form.messages}[{i}]"
        due = form.answers if i % 2 else form.asks
        text = field(message, form.text, str, place)
        speaker = due if form.by_place and form.speaker not in message else field(message, form.speaker, str, place)
        if speaker != due:
            raise UserError(
                f"{place}: expected {form.speaker!r} to be {due!r}, found {speaker!r}; turns have to alternate"
            )
        images += _PLACEHOLDER.findall(text).count("image")
        text = stripped(_PLACEHOLDER.sub(" ", text))
        if speaker == form.asks:
            question = text
            if i + 1 == len(messages):
                unused.append("questions without an answer")
        elif question and text:
            turns.append((question, text))
        else:
            unused.append("turns with an empty question or answer")
    return Dialogue(turns=tuple(turns), images=images, unused=tuple(unused))


def holds_coordinates(*texts: str) -> bool:
    """Whether a text holds four numbers in brackets: a box in words, which a mirrored picture would make false."""
    return any(_COORDINATES.search(text) for text in texts)
