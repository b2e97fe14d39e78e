"""What reaches a terminal: texts out of files and models, with everything that would steer it shown as text."""

from __future__ import annotations

import re
import sys
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.segment import Segment

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, and C1, which 8-bit terminals obey as well
    "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff"  # the direction of letters, line separators
    "\ud800-\udfff]"  # halves of characters, which no terminal can print
)


def printable(text: str, *, lines: bool = True) -> str:
    """A text with control characters written out: escape becomes ``\\x1b``, a right-to-left override ``\\u202e``.

    Args:
        text: anything that a file or a model says.
        lines: False writes newlines out as well, for what has to be one line.
    """
    shown = _STEERING.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)
    return shown if lines else shown.strip().replace("\n", "\\n")


def console(columns: int | None = None, **options: Any) -> Console:
    """Where a command prints: no markup, no emoji codes, and nothing but `printable` text.

    Args:
        columns: width where the output is no terminal; None lets rich choose.
        options: of ``rich.console.Console``.
    """
    made = Console(**{"width": None if sys.stdout.isatty() else columns, "markup": False, "emoji": False, **options})
    if made.width < 20:  # COLUMNS=1: a table of one column says nothing
        made.width = 80
    made.push_render_hook(_Printable())
    return made


class _Printable(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(renderable) for renderable in renderables]


class _Shown:
    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._content, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
