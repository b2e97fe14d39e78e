"""Types of settings: what a value has to be, and the words that say so."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, StringConstraints

from rsmoe.checks.ranges import Fraction, NonNegative, NonNegativeReal, PositiveReal
from rsmoe.checks.ranges import Positive as PositiveInt
from rsmoe.checks.ranges import Share as Share
from rsmoe.errors import UserError
from rsmoe.files import require_writable


@dataclass(frozen=True)
class Verbatim:
    """A value that is taken word for word from the command line, never as Hydra's grammar."""

    many: bool = False
    """Whether ``[a,b]`` is a list of such words."""
    written: bool = False
    """Whether the command writes there."""


@dataclass(frozen=True)
class Says:
    """What an error message calls the type."""

    text: str


def _home(word: str) -> str:
    if word.startswith("~") and os.path.expanduser(word) == word:
        raise UserError(f"there is no home folder {word.split('/')[0]!r}; write the whole path")
    return word


def _writable(kind: str) -> Callable[[str], str]:
    def check(word: str) -> str:
        path = Path(word)
        require_writable(path, "", folder=kind == "folder" or (kind == "" and not path.suffix))
        return word

    return check


Word = Annotated[str, Len(1), Verbatim(), Says("text")]
Words = Annotated[list[Annotated[str, Len(1)]], Verbatim(many=True), Says("a list of words, [a,b]")]
PathWord = Annotated[str, Len(1), Verbatim(), AfterValidator(_home), Says("a path")]
Paths = Annotated[
    Annotated[str, Len(1), AfterValidator(_home)]
    | Annotated[list[Annotated[str, Len(1), AfterValidator(_home)]], Len(1)],
    Verbatim(many=True),
    Says("a path, or a list of them, [a,b]"),
]
OutFolder = Annotated[str, Len(1), Verbatim(written=True), AfterValidator(_writable("folder")), Says("a folder")]
OutFile = Annotated[str, Len(1), Verbatim(written=True), AfterValidator(_writable("file")), Says("the name of a file")]
OutPath = Annotated[
    str, Len(1), Verbatim(written=True), AfterValidator(_writable("")), Says("a folder, or the name of a picture")
]
Name = Annotated[str, Len(1), Says("a name")]
Device = Annotated[
    str, StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"), Says("auto, cpu, cuda, cuda:<number> or mps")
]

Count = NonNegative
Number = PositiveInt
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Beams = Annotated[int, Ge(1), Le(64)]
Tokens = Annotated[int, Ge(1), Le(4096)]
Draws = Annotated[int, Ge(0), Le(100_000)]
Workers = Annotated[int, Ge(0), Le(1024)]
BatchSize = Annotated[int, Ge(1), Le(100_000)]
Pixels = Annotated[int, Ge(8), Le(100_000)]
Positive = PositiveReal
NotNegative = NonNegativeReal
Decay = Fraction
Ends = Annotated[list[float], Len(2, 2)]
Part = Annotated[dict[str, Any], Says("a mapping of keys")]
Devices = Number | Literal["auto", -1] | Annotated[list[Count], Len(1)]
