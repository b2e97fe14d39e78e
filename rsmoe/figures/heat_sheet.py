"""Pictures beside the heat maps of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsmoe.figures.figure import PAGE_WIDTH_IN, rgb, save_figure
from rsmoe.figures.sheet import LINE_IN, Sheet, wrap

_MARGIN_IN, _GAP_IN = 0.08, 0.1


def plot_heat(
    path: Path | str,
    heading: str,
    rows: Sequence[tuple[str, np.ndarray, np.ndarray]],
    *,
    outlines: Sequence[np.ndarray] = (),
) -> Path:
    """Writes a sheet to ``path`` (PNG, 7.2 in wide) and returns it.

    Args:
        heading: of the sheet.
        rows: title, (h, w, C) uint8 picture, (H, W) heat from 0 to 1 of the same ground, of each row.
        outlines: (n, 2) ``x y`` polygon in pixels of the heat, one a row, of what should be found; none draws none.
    """
    side = (PAGE_WIDTH_IN - 2 * _MARGIN_IN - _GAP_IN) / 2
    tall = [side * heat.shape[0] / heat.shape[1] for _, _, heat in rows]
    titles = [wrap(title, width_in=PAGE_WIDTH_IN - 2 * _MARGIN_IN, lines=1) if title else [] for title, _, _ in rows]
    head = wrap(heading, width_in=PAGE_WIDTH_IN - 2 * _MARGIN_IN, lines=2, weight="bold")
    lines = len(head) + sum(map(len, titles))
    sheet = Sheet(width=PAGE_WIDTH_IN, height=2 * _MARGIN_IN + sum(tall) + len(rows) * _GAP_IN + lines * LINE_IN)
    down = sheet.height - _MARGIN_IN
    for line in head:
        sheet.text(_MARGIN_IN, down, line, weight="bold")
        down -= LINE_IN
    for place, (_, picture, heat) in enumerate(rows):
        for line in titles[place]:
            sheet.text(_MARGIN_IN, down, line)
            down -= LINE_IN
        high, wide = heat.shape
        extent = (0, wide, high, 0)
        for column in range(2):
            axes = sheet.axes(_MARGIN_IN + column * (side + _GAP_IN), down - tall[place], side, tall[place])
            axes.imshow(rgb(picture), extent=extent, aspect="auto")
            if column:
                axes.imshow(heat, extent=extent, aspect="auto", cmap="inferno", alpha=0.7, vmin=0, vmax=1)
            if len(outlines):
                axes.plot(*np.concatenate([outlines[place], outlines[place][:1]]).T, color="cyan", linewidth=1.5)
        down -= tall[place] + _GAP_IN
    return save_figure(sheet.figure, path)
