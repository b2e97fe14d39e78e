"""What a search found, side by side, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsmoe.figures.figure import GREY, PAGE_WIDTH_IN, rgb, save_figure
from rsmoe.figures.sheet import LINE_IN, Sheet, wrap

_COLUMNS = 5
_MARGIN_IN, _GAP_IN = 0.08, 0.1
_SIDE_IN = (PAGE_WIDTH_IN - 2 * _MARGIN_IN - (_COLUMNS - 1) * _GAP_IN) / _COLUMNS


@dataclass(frozen=True, kw_only=True)
class FoundPicture:
    """One cell of the sheet."""

    pixels: np.ndarray | None
    """(H, W, C) uint8; None where it cannot be read any more."""
    title: str
    notes: tuple[str, ...] = ()
    """Lines below, of which each is cut to one."""


def plot_found(path: Path | str, heading: str, found: Sequence[FoundPicture]) -> Path:
    """Writes the sheet to ``path`` (PNG, 7.2 in wide) and returns it.

    Args:
        heading: what was searched for.
        found: the best first, 1 at least.
    """
    lines = 1 + max(len(cell.notes) for cell in found)
    row_in = _SIDE_IN + lines * LINE_IN + 0.16
    head = wrap(heading, width_in=PAGE_WIDTH_IN - 2 * _MARGIN_IN, lines=2, weight="bold")
    top = len(head) * LINE_IN + 0.06
    rows = -(-len(found) // _COLUMNS)
    sheet = Sheet(width=PAGE_WIDTH_IN, height=2 * _MARGIN_IN + top + rows * row_in)
    for number, line in enumerate(head):
        sheet.text(_MARGIN_IN, sheet.height - _MARGIN_IN - number * LINE_IN, line, weight="bold")
    for place, cell in enumerate(found):
        row, column = divmod(place, _COLUMNS)
        left = _MARGIN_IN + column * (_SIDE_IN + _GAP_IN)
        upper = sheet.height - _MARGIN_IN - top - row * row_in
        if cell.pixels is None:
            sheet.rectangle(left, upper - _SIDE_IN, _SIDE_IN, _SIDE_IN, "#DDDDDD")
        else:
            pixels = rgb(cell.pixels)
            high, wide = (_SIDE_IN * side / max(pixels.shape[:2]) for side in pixels.shape[:2])
            sheet.axes(left, upper - high, wide, high).imshow(pixels, aspect="auto")
        down = upper - _SIDE_IN - 0.05
        for text, color in ((cell.title, "black"), *((note, GREY) for note in cell.notes)):
            sheet.text(left, down, wrap(text, width_in=_SIDE_IN, lines=1)[0] if text else "", color=color)
            down -= LINE_IN
    return save_figure(sheet.figure, path)
