"""Pairs of pictures side by side, for a person to judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rsmoe.data.overlap.leakage import Pair
from rsmoe.data.overlap.near_duplicates import turned
from rsmoe.data.rasters.images import load_image
from rsmoe.figures.figure import BLUE, GREY, ORANGE, PAGE_WIDTH_IN, rgb, save_figure
from rsmoe.figures.sheet import LINE_IN, Sheet, wrap

_COLUMNS = 3
_MARGIN_IN, _GAP_IN = 0.08, 0.14
_CELL_IN = (PAGE_WIDTH_IN - 2 * _MARGIN_IN - (_COLUMNS - 1) * _GAP_IN) / _COLUMNS
_SIDE_IN = (_CELL_IN - 0.03) / 2
_ROW_IN = _SIDE_IN + 4 * LINE_IN + 0.08


def plot_pairs(path: Path | str, pairs: Sequence[Pair]) -> Path:
    """Write the sheet to ``path`` (PNG, 7.2 in wide) and return it: test picture left, training picture right.

    The test picture is turned to lie on the training picture; what was done to it is written below.

    Raises:
        ValueError: no pair.
    """
    if not pairs:
        raise ValueError("a contact sheet needs at least one pair")
    rows = -(-len(pairs) // _COLUMNS)
    sheet = Sheet(width=PAGE_WIDTH_IN, height=rows * _ROW_IN + _MARGIN_IN)
    for place, pair in enumerate(pairs):
        row, column = divmod(place, _COLUMNS)
        left, top = _MARGIN_IN + column * (_CELL_IN + _GAP_IN), sheet.height - _MARGIN_IN - row * _ROW_IN
        for x, picture, symmetry in ((left, pair.test, pair.symmetry), (left + _SIDE_IN + 0.03, pair.train, "same")):
            pixels = rgb(turned(load_image(picture.source), symmetry))
            high, wide = (_SIDE_IN * size / max(pixels.shape[:2]) for size in pixels.shape[:2])
            sheet.axes(x, top - high, wide, high).imshow(pixels, aspect="auto")
        kind = f"near {pair.score:.2f}" if pair.kind == "near" else f"same {pair.kind}"
        note = "" if pair.symmetry == "same" else f", {pair.symmetry}"
        down = top - _SIDE_IN - 0.05
        lines = [(f"{kind}{note}", ORANGE if pair.kind == "near" else BLUE)]
        lines += [(f"{side} {p.data} {p.id}", GREY) for side, p in (("test", pair.test), ("train", pair.train))]
        for text, color in lines:
            sheet.text(left, down, wrap(text, width_in=_CELL_IN, lines=1)[0], color=color)
            down -= LINE_IN
    return save_figure(sheet.figure, path)
