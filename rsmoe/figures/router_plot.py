"""The router report: which expert serves which request, how even the load is, and how that came about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from rsmoe.figures.figure import BLUE, FONT_PT, GREY, ORANGE, PAGE_WIDTH_IN, PLOT_STYLE, save_figure, shorten
from rsmoe.figures.router_history import RouterHistory

_EVEN = (0, (3, 2))


def plot_router(
    path: Path | str,
    *,
    matrix: np.ndarray,
    task_names: Sequence[str],
    expert_names: Sequence[str],
    load: Sequence[float],
    history: RouterHistory | None = None,
) -> Path:
    """Write the report to ``path`` (PNG, 200 dpi) and return it.

    Experts are rows, shared by the heat map and the load bars, so that 1 to 32 of them fit a page.

    Args:
        matrix: (tasks, E) mean router weight of each expert over the samples of a task or instruction kind; a task
            without samples is NaN and stays blank.
        task_names: one name per row of ``matrix``.
        expert_names: one name per column of ``matrix``.
        load: (E,) share of rows that each expert received; sums to 1.
        history: curves over training; "not recorded" is printed where there is none.

    Raises:
        ValueError: shapes that do not belong together.
    """
    weights, shares = np.asarray(matrix, dtype=float), np.asarray(load, dtype=float)
    tasks, experts = len(task_names), len(expert_names)
    if weights.shape != (tasks, experts) or shares.shape != (experts,) or not weights.size:
        raise ValueError(f"matrix {weights.shape}, load {shares.shape}: expected ({tasks}, {experts}), ({experts},)")
    with mpl.rc_context(PLOT_STYLE):
        table_in, body_in = max(1.9, 0.26 * tasks), max(1.8, 0.19 * experts)
        size = (max(PAGE_WIDTH_IN, table_in + 4.0), body_in + 0.9)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.04))
        grid = figure.add_gridspec(1, 3, width_ratios=(table_in, 0.75, 2.3))
        heat = figure.add_subplot(grid[0])
        bars = figure.add_subplot(grid[1], sharey=heat)
        # curves keep their height beside a tall table: the third row is empty
        right = grid[2].subgridspec(3, 1, height_ratios=(1.0, 1.0, max(0.001, (body_in - 3.2) / 1.6)), hspace=0.08)
        top = figure.add_subplot(right[0])
        bottom = figure.add_subplot(right[1], sharex=top)
        _draw_heat_map(heat, weights.T, task_names, expert_names)
        _draw_load(bars, shares)
        _draw_curves(top, bottom, history, experts)
        if history is not None and history.stages:
            figure.draw_without_rendering()  # settles the layout, so that stage names can be cut to their room
            _draw_stages(top, bottom, history)
        return save_figure(figure, path)


def _draw_heat_map(axes: Axes, values: np.ndarray, task_names: Sequence[str], expert_names: Sequence[str]) -> None:
    """``values`` (E, tasks), each printed in its cell."""
    experts, tasks = values.shape
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(np.isfinite(values)):
        value = values[row, column]
        text = f"{value:.2f}" if tasks <= 8 else f"{value:.2f}".removeprefix("0")  # narrow cells: ".07"
        color = GREY if value < 0.05 else "black" if value < 0.55 else "white"
        axes.text(column, row, text if value >= 0.005 else "0", ha="center", va="center", color=color)
    upright = max(map(len, task_names)) <= 26 // tasks
    labels = [shorten(name.replace("_", " "), 24) for name in task_names]
    axes.set_xticks(range(tasks), labels, rotation=0 if upright else 40, ha="center" if upright else "right")
    if not upright:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_yticks(range(experts), [shorten(name.replace("_", " "), 20) for name in expert_names])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Mean router weight", loc="left")


def _draw_load(axes: Axes, load: np.ndarray) -> None:
    """One bar per expert with its percentage; shares the rows of the heat map."""
    axes.barh(np.arange(len(load)), load, height=0.72, color=BLUE)
    axes.axvline(1 / len(load), color="black", linewidth=0.9, linestyle=_EVEN)
    longest = max(float(np.nanmax(load)), 1 / len(load))
    for row, share in enumerate(load):
        axes.text(1.6 * longest, row, f"{share:.0%}", ha="right", va="center")
    axes.set_xlim(0, 1.6 * longest)
    axes.set_xticks([])
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Load (dashed: even)", loc="left")


def _draw_curves(top: Axes, bottom: Axes, history: RouterHistory | None, experts: int) -> None:
    """Entropy and accuracy above, load per expert below, over one axis of steps."""
    top.set_ylim(-0.03, 1.03)
    top.tick_params(labelbottom=False)
    bottom.set_xlabel("optimizer step")
    bottom.set_ylabel("load")
    if history is None or not len(history.step):
        for axes in (top, bottom):
            _say_not_recorded(axes)
            axes.set_xticks([])
        return
    marker = "o" if len(history.step) == 1 else None
    entropy = np.asarray(history.entropy, dtype=float) / max(math.log(experts), 1e-9)
    top.plot(history.step, entropy, color=ORANGE, linestyle="--", marker=marker, label="entropy / ln E")
    top.plot(history.step, history.accuracy, color=BLUE, marker=marker, label="accuracy")
    top.legend(loc="best", edgecolor="none", framealpha=0.8, handlelength=1.6, borderpad=0.1, labelspacing=0.3)
    load = np.asarray(history.load, dtype=float)
    if load.size:
        bottom.plot(history.step, load, color=BLUE, linewidth=0.8, alpha=0.8 if experts <= 8 else 0.35, marker=marker)
        bottom.axhline(1 / experts, color="black", linewidth=0.9, linestyle=_EVEN)
        bottom.set_ylim(bottom=0)
    else:
        _say_not_recorded(bottom)


def _say_not_recorded(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_yticks([])


def _draw_stages(top: Axes, bottom: Axes, history: RouterHistory) -> None:
    """A dotted line where each stage begins, its name above the curves, cut to the room that it has."""
    low, high = top.get_xlim()
    chars = top.get_window_extent().width / (0.6 * FONT_PT * top.figure.dpi / 72)
    starts = [max(low, first) for first, _ in history.stages]
    for (_, name), start, end in zip(history.stages, starts, [*starts[1:], high], strict=True):
        room = int(chars * (end - start) / (high - low)) - 1
        if room >= 3:
            top.text(start, 1.03, shorten(name, room), transform=top.get_xaxis_transform(), va="bottom", color=GREY)
        for axes in (top, bottom):
            axes.axvline(start, color=GREY, linewidth=0.8, linestyle=":")
    top.set_xlim(low, high)
