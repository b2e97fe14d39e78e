"""A picture, and its land cover beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch

from rsmoe.figures.change_sheet import striped
from rsmoe.figures.figure import FONT_PT, PAGE_WIDTH_IN, rgb, save_figure
from rsmoe.figures.sheet import LINE_IN, Sheet

_IN_A_ROW, _MOST = 4, 16


def draw_land_cover(
    path: Path,
    *,
    picture: np.ndarray,
    classes: np.ndarray,
    valid: np.ndarray,
    colours: list[str],
    shares: Mapping[str, tuple[int, float]],
    title: str,
) -> Path:
    """Writes two pictures of one size, and what the colours of the largest classes mean.

    Args:
        picture: (H, W, C) uint8; the first three bands are shown, one band as grey.
        classes: (H, W) uint8.
        valid: (H, W) bool; what holds no data is hatched grey.
        colours: "#rrggbb" of the values.
        shares: name of a class that is there -> its value and its share of the pixels with data, the largest first.
        title: of the picture.
    """
    height, width = classes.shape
    gap, margin = 0.08, 0.1
    side = (PAGE_WIDTH_IN - 2 * margin - gap) / 2
    tall = min(max(side * height / width, 0.5), 8.0)
    named = list(shares.items())[:_MOST]
    foot = 1.4 * LINE_IN * -(-len(named) // _IN_A_ROW) + 0.1
    sheet = Sheet(width=PAGE_WIDTH_IN, height=tall + foot + LINE_IN + 0.15)
    table = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], np.uint8)
    painted = table[np.minimum(classes, len(colours) - 1)].astype(np.float32)
    texture = rgb(picture).astype(np.float32).mean(-1, keepdims=True)
    mapped = striped(0.8 * painted + 0.2 * texture, valid)
    for i, (image, name) in enumerate(((rgb(picture), title), (mapped, "land cover"))):
        x = margin + i * (side + gap)
        sheet.axes(x, foot, side, tall).imshow(image, interpolation="nearest", aspect="auto")
        sheet.text(x, sheet.height - 0.05, name, weight="bold")
    if named:
        patches = [Patch(color=colours[k], label=f"{name} {100 * share:.1f} %") for name, (k, share) in named]
        sheet.figure.legend(
            handles=patches, loc="lower left", ncols=_IN_A_ROW, frameon=False, fontsize=FONT_PT, mode="expand",
            bbox_to_anchor=(0.0, 0.0, 1.0, foot / sheet.height), borderaxespad=0.1, handlelength=1.2,
        )  # fmt: skip
    return save_figure(sheet.figure, path)
