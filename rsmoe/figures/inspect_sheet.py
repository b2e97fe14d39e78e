"""Samples as a reader gives them: pictures, boxes, masks and class maps, with their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke

from rsmoe.data.boxes.geometry import obb_corners
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.figures.figure import GREEN, GREY, PAGE_WIDTH_IN, rgb, save_figure
from rsmoe.figures.sheet import LINE_IN, Sheet, text_width_in, wrap

_COLUMNS = 3
_MARGIN_IN, _GAP_IN = 0.08, 0.16
_CELL_IN = (PAGE_WIDTH_IN - 2 * _MARGIN_IN - (_COLUMNS - 1) * _GAP_IN) / _COLUMNS
_LINES = 3
_MOST_DATES = 4
_BOX, _ORIENTED, _MASK = "#F0E442", "#56B4E9", "#FF4FC3"
"""Yellow, sky blue and magenta stand out from vegetation, water and soil, and from each other."""
_UNKNOWN = 255
_PALETTE = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class _Cell:
    sample: Sample
    frames: list[np.ndarray]
    """(H, W, 3) uint8, the first and last dates among them."""
    mask: np.ndarray | None
    class_map: np.ndarray | None


def plot_inspection(path: Path | str, samples: Sequence[Sample]) -> list[str]:
    """Writes the sheet to ``path`` (PNG, 7.2 in wide): boxes yellow, oriented ones blue, the mask magenta and the
    region that is asked about white and dashed on the first picture, the class map as a panel of its own with its
    names.

    Returns:
        What could not be drawn, "id: reason"; where that is everything, no file is written.
    """
    cells, faults = [], []
    for sample in samples:
        try:
            cells.append(_read(sample))
        except UserError as error:
            faults.append(f"{sample.id}: {error}")
    rows = [cells[i : i + _COLUMNS] for i in range(0, len(cells), _COLUMNS)]
    heights = [max(_draw(None, cell, 0, 0) for cell in row) + _GAP_IN for row in rows]
    if cells:
        sheet = Sheet(width=PAGE_WIDTH_IN, height=sum(heights) + _MARGIN_IN)
        top = sheet.height - _MARGIN_IN
        for row, height in zip(rows, heights, strict=True):
            for column, cell in enumerate(row):
                _draw(sheet, cell, _MARGIN_IN + column * (_CELL_IN + _GAP_IN), top)
            top -= height
        save_figure(sheet.figure, path)
    return faults


def _read(sample: Sample) -> _Cell:
    dates = sorted({round(i) for i in np.linspace(0, len(sample.images) - 1, min(len(sample.images), _MOST_DATES))})
    frames = [rgb(load_image(sample.images[date])) for date in dates]
    mask, class_map = (None if m is None else read_array(m) for m in (sample.mask, sample.class_map))
    for name, plane in (("mask", mask), ("class map", class_map)):
        if plane is not None and plane.shape != frames[0].shape[:2]:
            raise UserError(f"its {name} is {plane.shape}, its first picture {frames[0].shape[:2]}")
    return _Cell(sample=sample, frames=frames, mask=mask, class_map=class_map)


def _draw(sheet: Sheet | None, cell: _Cell, left: float, top: float) -> float:
    """Pictures above words; returns the height in inches. With ``sheet=None`` only measures."""
    panels = len(cell.frames) + (cell.class_map is not None)
    columns = 1 if panels == 1 else 2
    side = (_CELL_IN - (columns - 1) * 0.03) / columns
    down = 0.0
    for first in range(0, panels, columns):
        tallest = 0.0
        for panel in range(first, min(first + columns, panels)):
            high, wide = (cell.frames[panel] if panel < len(cell.frames) else cell.frames[0]).shape[:2]
            scale = side / max(high, wide)
            tallest = max(tallest, high * scale)
            if sheet is not None:
                x = left + (panel - first) * (side + 0.03)
                axes = sheet.axes(x, top - down - high * scale, wide * scale, high * scale)
                _draw_panel(axes, cell, panel)
                axes.set(xlim=(-0.5, wide - 0.5), ylim=(high - 0.5, -0.5))
        down += tallest + 0.03
    down += 0.04
    if cell.class_map is not None:
        down += _draw_names(sheet, cell, left, top - down)
    sample = cell.sample
    texts = [
        (f"{sample.task} {sample.kind}".strip(), 1, "bold", "black"),
        (sample.id, 1, "normal", GREY),
        (sample.instruction, _LINES, "normal", "black"),
        (sample.responses[0], _LINES, "normal", GREEN),
    ]
    for text, lines, weight, color in texts:
        for line in wrap(text, width_in=_CELL_IN, lines=lines, weight=weight):
            if sheet is not None:
                sheet.text(left, top - down, line, weight=weight, color=color)
            down += LINE_IN
    return down


def _draw_panel(axes: Axes, cell: _Cell, panel: int) -> None:
    if panel == len(cell.frames):
        assert cell.class_map is not None
        axes.imshow(_coloured(cell.class_map), aspect="auto", interpolation="nearest")
        return
    axes.imshow(cell.frames[panel], aspect="auto")
    if panel:
        return
    if cell.mask is not None and cell.mask.any():
        tint = np.zeros((*cell.mask.shape, 4))
        tint[cell.mask.astype(bool)] = (*to_rgb(_MASK), 0.45)
        axes.imshow(tint, aspect="auto", interpolation="nearest")
    sample = cell.sample
    boxes = sample.boxes_px if sample.boxes_px is not None else np.empty((0, 4), np.float32)
    oriented = sample.obb_px if sample.obb_px is not None else np.empty((0, 5), np.float32)
    halo = [withStroke(linewidth=2.2, foreground="black")]
    if not len(oriented) or len(boxes) != len(oriented):  # of an object with both, the horizontal box says nothing more
        for x1, y1, x2, y2 in boxes - 0.5:  # pixel 0 is drawn from -0.5 to 0.5
            box = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=_BOX, linewidth=1, path_effects=halo)
            axes.add_patch(box)
    for outline in obb_corners(oriented):
        axes.add_patch(Polygon(outline - 0.5, fill=False, edgecolor=_ORIENTED, linewidth=1, path_effects=halo))
    if sample.region is not None:
        high, wide = cell.frames[0].shape[:2]
        around = sample.region.corners * [wide, high] - 0.5
        axes.add_patch(Polygon(around, fill=False, edgecolor="white", linestyle="--", linewidth=1, path_effects=halo))
    labels = sample.labels[:1] if len(set(sample.labels)) == 1 else sample.labels
    if len(labels) <= 12:  # more would hide the picture
        corners = obb_corners(oriented).min(axis=1) if len(oriented) else boxes[:, :2]
        for (x, y), label in zip(corners, labels, strict=False):
            axes.annotate(
                label, (x, y), (0, 2), textcoords="offset points", color="white", fontsize=5.5, path_effects=halo,
                annotation_clip=True, clip_on=True, parse_math=False,
            )  # fmt: skip


def _draw_names(sheet: Sheet | None, cell: _Cell, left: float, top: float) -> float:
    """A coloured square and a name for every class on the map; returns the height."""
    assert cell.class_map is not None
    x, down = left, 0.0
    for value in np.unique(cell.class_map).tolist():
        known = value < len(cell.sample.classes)
        name = cell.sample.classes[value] if known else "unknown" if value == _UNKNOWN else f"value {value}"
        width = text_width_in(name) + 0.22
        if x > left and x + width > left + _CELL_IN:
            x, down = left, down + LINE_IN
        if sheet is not None:
            color = matplotlib.colors.to_hex(_color(value))
            sheet.rectangle(x, top - down - 0.085, 0.08, 0.08, color, edge=GREY)
            sheet.text(x + 0.11, top - down, name)
        x += width
    return down + LINE_IN


def _color(value: int) -> tuple[float, float, float]:
    if value == _UNKNOWN:
        return (1.0, 1.0, 1.0)
    red, green, blue = _PALETTE[(2 * value + value // 10) % 20]  # strong tones first, then the pale ones
    return (red, green, blue)


def _coloured(class_map: np.ndarray) -> np.ndarray:
    """(H, W) uint8 -> (H, W, 3)."""
    return np.array([_color(value) for value in range(256)])[class_map]
