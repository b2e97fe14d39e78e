"""A page addressed in inches, and text that is wrapped to inches."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextToPath

from rsmoe.figures.figure import FONT_PT

LINE_IN = 1.3 * FONT_PT / 72
"""Distance of two lines of text."""


class Sheet:
    """A figure with coordinates in inches from its lower left corner.

    Args:
        width: inches.
        height: inches.
    """

    def __init__(self, *, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes without frame or ticks."""
        axes = self.figure.add_axes((x / self.width, y / self.height, width / self.width, height / self.height))
        axes.set_axis_off()
        return axes

    def rectangle(self, x: float, y: float, width: float, height: float, color: str, edge: str = "none") -> None:
        """A filled rectangle with lower left corner (x, y)."""
        self.figure.add_artist(
            Rectangle(
                (x / self.width, y / self.height),
                width / self.width,
                height / self.height,
                facecolor=color,
                edgecolor=edge,
                linewidth=0.5,
            )
        )

    def text(
        self, x: float, top: float, text: str, *, color: str = "black", weight: str = "normal", right: bool = False
    ) -> None:
        """One line whose capitals start at ``top``; never read as mathematics, whatever signs it holds."""
        baseline = top - 0.8 * FONT_PT / 72
        self.figure.text(
            x / self.width,
            baseline / self.height,
            text,
            ha="right" if right else "left",
            va="baseline",
            fontsize=FONT_PT,
            color=color,
            weight=weight,
            parse_math=False,
        )


def text_width_in(text: str, weight: str = "normal") -> float:
    """Width of one line of ``text`` at the sheet's font size, in inches, without kerning."""
    return sum(_character_in(character, weight) for character in text)


def wrap(text: str, *, width_in: float, indent_in: float = 0.0, lines: int, weight: str = "normal") -> list[str]:
    """``text`` in at most ``lines`` lines of ``width_in``, the first shorter by ``indent_in``; "…" where it was cut."""
    result: list[str] = []
    line, room = "", width_in - indent_in
    for word in text.split():
        if len(result) > lines:  # of a text without end, no more is shown
            break
        candidate = f"{line} {word}" if line else word
        if text_width_in(candidate, weight) <= room:
            line = candidate
            continue
        if line or result or indent_in:
            result.append(line)
            room = width_in
        while len(result) <= lines and text_width_in(word, weight) > room:  # a url, or a run of tokens
            fits = _fitting(word, room, weight)
            result.append(word[:fits])
            word = word[fits:]
        line = word
    result.append(line)
    if len(result) > lines:
        last = result[lines - 1]
        while last and text_width_in(last + "…", weight) > width_in - (indent_in if lines == 1 else 0):
            last = last[:-1]
        result = [*result[: lines - 1], last.rstrip() + "…"]
    return result


def _fitting(word: str, room: float, weight: str) -> int:
    """How many characters of a word fit, 1 at least."""
    width = 0.0
    for place, character in enumerate(word):
        width += _character_in(character, weight)
        if width > room:
            return max(1, place)
    return len(word)


@lru_cache(maxsize=4096)
def _character_in(character: str, weight: str) -> float:
    font = FontProperties(size=FONT_PT, weight=weight)
    return TextToPath().get_text_width_height_descent(character, font, ismath=False)[0] / 72
