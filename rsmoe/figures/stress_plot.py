"""Curves of a stress study: a column for each disturbance, a row for each metric, a line for each temporal module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from rsmoe.data.transforms.perturb import PERTURBATIONS
from rsmoe.figures.figure import BLUE, GREEN, GREY, ORANGE, PLOT_STYLE, save_figure

SHOWN = {
    "change_vqa/accuracy/presence": "presence\naccuracy, %",
    "change_vqa/false_alarm/presence": "false alarms\nin words, %",
    "change_caption/cider_d/changed": "CIDEr-D of\nchanged pairs",
    "change_map/iou": "IoU of the\nmap, %",
    "change_map/false_alarm": "false alarms\nof the map, %",
}
"""Metrics that are drawn, in this order, with their axes; metrics.json holds all."""

_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "black")
_MARKERS = "osD^vP*"


def plot_stress(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes the figure (PNG, 200 dpi, a page on its side) and returns its path.

    Strength 0 is the untouched pairs, the same point in every column. A line is the mean over the seeds of a module,
    its band the 95 % interval of a single checkpoint, or the range over several.

    Args:
        path: of the picture.
        rows: of `rsmoe.commands.stress`: "temporal", "perturbation", "strength", "metric", "value", "low", "high".

    Raises:
        ValueError: no row of a metric that is drawn.
    """
    metrics = [metric for metric in SHOWN if any(row["metric"] == metric for row in rows)]
    names = [name for name in PERTURBATIONS if any(row["perturbation"] == name for row in rows)]
    if not metrics or not names:
        raise ValueError("nothing to draw: no row of " + ", ".join(SHOWN))
    modules = list(dict.fromkeys(str(row["temporal"]) for row in rows))
    with mpl.rc_context(PLOT_STYLE):
        size = (max(3.2, 0.9 + 0.98 * len(names)), 0.75 + 0.95 * len(metrics))
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03))
        grid = figure.subplots(len(metrics), len(names), squeeze=False, sharex="col", sharey="row")
        for row, metric in enumerate(metrics):
            for column, name in enumerate(names):
                axes = grid[row, column]
                for place, module in enumerate(modules):
                    own = [r for r in rows if r["temporal"] == module and r["metric"] == metric]
                    _draw(axes, [r for r in own if r["perturbation"] in ("none", name)], place, module)
                axes.grid(axis="y", linewidth=0.4, color="#D8D8D8")
                axes.tick_params(length=2, pad=2)
                if row == 0:
                    axes.set_title(name, pad=4)
                if row == len(metrics) - 1:
                    _label(axes, name)
            grid[row, 0].set_ylabel(SHOWN[metric])
            if metric == "change_caption/cider_d/changed":  # a row shares its axis
                grid[row, 0].set_ylim(bottom=0)  # once all are drawn, or the first would bound the others
            else:
                grid[row, 0].set_ylim(-3, 103)
                grid[row, 0].set_yticks((0, 50, 100))
        figure.align_ylabels(grid[:, 0])
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(modules), frameon=False, handlelength=1.8)
        return save_figure(figure, path)


def _draw(axes: Axes, rows: Sequence[Mapping[str, Any]], place: int, module: str) -> None:
    strengths = sorted({row["strength"] for row in rows})
    values, lows, highs = [], [], []
    for strength in strengths:
        own = [row for row in rows if row["strength"] == strength]
        values.append(fmean(row["value"] for row in own))
        single = len(own) == 1 and own[0].get("low") is not None
        lows.append(own[0]["low"] if single else min(row["value"] for row in own))
        highs.append(own[0]["high"] if single else max(row["value"] for row in own))
    colour = _COLOURS[place % len(_COLOURS)]
    axes.fill_between(strengths, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.plot(
        strengths, values, color=colour, linewidth=1.1, marker=_MARKERS[place % len(_MARKERS)], markersize=2.5,
        label=module,
    )  # fmt: skip


def _label(axes: Axes, name: str) -> None:
    perturbation = PERTURBATIONS[name]
    if perturbation.levels:
        ticks = (0.0, *perturbation.strengths)
        axes.set_xticks(ticks, ("none", *perturbation.levels), rotation=90)
    else:
        last = perturbation.strengths[-1]
        axes.set_xticks((0, last / 2, last), [f"{perturbation.none + x:g}" for x in (0, last / 2, last)])
        axes.set_xlabel(perturbation.unit, color=GREY, labelpad=2)
