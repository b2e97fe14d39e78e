"""Experts taken apart, on one page: each alone, each left out, load and similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, isnan
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from rsmoe.figures.figure import BLUE, FONT_PT, GREY, ORANGE, PAGE_WIDTH_IN, PLOT_STYLE, save_figure, shorten
from rsmoe.metrics.bootstrap import Interval

Cells = Mapping[tuple[str, str], Interval]
_BESIDE = 5
"""Measures beside each other in the panels of experts left out."""


def plot_experts(
    path: Path | str, *, alone: Cells, without: Cells, load: Cells, similarity: Cells | None = None
) -> Path:
    """Writes the page (PNG, 200 dpi) and returns its path.

    Args:
        path: of the picture.
        alone: (expert, score) -> number; each score has shades of its own, from 0 to its best.
        without: (expert, measure) -> difference with its interval, drawn in orange where it excludes 0.
        load: (task, expert) -> share.
        similarity: (expert, expert) -> cosine; None leaves the panel out.
    """
    measures = _second(without)
    bands = ceil(len(measures) / _BESIDE)
    heights = [
        0.75 + 0.2 * len(_first(alone)),
        0.2 + bands * (0.65 + 0.2 * len(_first(without))),
        0.75 + 0.2 * len(_first(load)),
    ]
    with mpl.rc_context(PLOT_STYLE):
        size = (PAGE_WIDTH_IN, sum(heights))
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
        rows = figure.add_gridspec(3, 1, height_ratios=heights)
        parts = [figure.add_subfigure(rows[place]) for place in range(3)]
        first = parts[0].subplots(1, 1 if similarity is None else 2, squeeze=False)[0]
        _matrix(first[0], alone, title="Score of each expert alone", digits=1, columns_apart=True)
        if similarity is not None:
            _matrix(first[1], similarity, title="Cosine of the updates", digits=2)
        grid = parts[1].subplots(bands, min(len(measures), _BESIDE), squeeze=False, sharey=True)
        for place, axes in enumerate(grid.flat):
            if place < len(measures):
                _differences(axes, without, measures[place])
            else:
                axes.set_axis_off()
        parts[1].suptitle("Without the expert, and the 95 % interval", x=0.01, ha="left", fontsize=FONT_PT)
        _matrix(parts[2].subplots(), load, title="Mean weight", digits=2)
        return save_figure(figure, path)


def _first(cells: Cells) -> list[str]:
    return list(dict.fromkeys(row for row, _ in cells))


def _second(cells: Cells) -> list[str]:
    return list(dict.fromkeys(column for _, column in cells))


def _named(name: str) -> str:
    """On two lines, as there is little room beside each other."""
    return "\n".join(shorten(part, 20) for part in name.split("/", 1))


def _matrix(axes: Axes, cells: Cells, *, title: str, digits: int, columns_apart: bool = False) -> None:
    """Numbers in their cells, the darker the larger; 0 and less are white."""
    rows, columns = _first(cells), _second(cells)
    values = np.array([[cells[row, column].value for column in columns] for row in rows])
    peak = np.nanmax(values, axis=0, keepdims=True, initial=1e-9) if columns_apart else 1.0
    shade = np.nan_to_num(values / peak)
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        text = "–" if isnan(value) else f"{value:.{digits}f}"
        colour = "white" if shade[row, column] > 0.8 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), [_named(column) for column in columns])
    axes.set_yticks(range(len(rows)), [_named(row) for row in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left")


def _differences(axes: Axes, cells: Cells, measure: str) -> None:
    """A dot and its interval for every expert, the first on top."""
    experts: Sequence[str] = _first(cells)
    axes.axvline(0, color=GREY, linewidth=0.8)
    for place, expert in enumerate(experts):
        cell = cells[expert, measure]
        colour = ORANGE if cell.low > 0 or cell.high < 0 else BLUE
        axes.plot([cell.low, cell.high], [place, place], color=colour, linewidth=1.1)
        axes.plot([cell.value], [place], "o", color=colour, markersize=3.5)
    axes.set_yticks(range(len(experts)), [_named(expert) for expert in experts])
    axes.set_ylim(len(experts) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_title(_named(measure), loc="left")
