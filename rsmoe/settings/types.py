"""Types of settings: what a value has to be, and the words that say so."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, StringConstraints

from rsmoe.checks.ranges import NonNegative, NonNegativeReal, PositiveReal
from rsmoe.checks.ranges import Positive as PositiveInt
from rsmoe.checks.ranges import Share as Share
from rsmoe.checks.ranges import Temperature as Temperature
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
"""Text, as typed."""
Words = Annotated[list[Annotated[str, Len(1)]], Verbatim(many=True), Says("a list of words, [a,b]")]
"""Several texts, as typed."""
PathWord = Annotated[str, Len(1), Verbatim(), AfterValidator(_home), Says("a path")]
"""A path to read."""
Paths = Annotated[
    Annotated[str, Len(1), AfterValidator(_home)]
    | Annotated[list[Annotated[str, Len(1), AfterValidator(_home)]], Len(1)],
    Verbatim(many=True),
    Says("a path, or a list of them, [a,b]"),
]
"""One or more paths to read."""
OutFolder = Annotated[str, Len(1), Verbatim(written=True), AfterValidator(_writable("folder")), Says("a folder")]
"""A folder that is written."""
OutFile = Annotated[str, Len(1), Verbatim(written=True), AfterValidator(_writable("file")), Says("the name of a file")]
"""A file that is written."""
OutPath = Annotated[
    str, Len(1), Verbatim(written=True), AfterValidator(_writable("")), Says("a folder, or the name of a picture")
]
"""A folder or a picture that is written."""
Name = Annotated[str, Len(1), Says("a name")]
"""A name that Hydra reads."""
Device = Annotated[
    str, StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"), Says("auto, cpu, cuda, cuda:<number> or mps")
]
"""A device of torch, or "auto"."""

Count = NonNegative
"""0 or more."""
Number = PositiveInt
"""1 or more."""
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
"""Seed of random numbers, 32 bits."""
Beams = Annotated[int, Ge(1), Le(64)]
"""Width of beam search."""
Tokens = Annotated[int, Ge(1), Le(4096)]
"""Most tokens of an answer."""
Draws = Annotated[int, Ge(0), Le(100_000)]
"""Bootstrap resamples; 0 for no interval."""
Workers = Annotated[int, Ge(0), Le(1024)]
"""Processes of a DataLoader; 0 for none beside the main one."""
BatchSize = Annotated[int, Ge(1), Le(100_000)]
"""Requests of a batch."""
Pixels = Annotated[int, Ge(8), Le(100_000)]
"""Side of a picture."""
Positive = PositiveReal
"""A real number above 0."""
NotNegative = NonNegativeReal
"""A real number from 0 on."""
Part = Annotated[dict[str, Any], Says("a mapping of keys")]
"""A mapping with ``_target_``."""
Devices = Number | Literal["auto", -1] | Annotated[list[Count], Len(1)]
"""Lightning's ``devices``: how many, which, or all."""
