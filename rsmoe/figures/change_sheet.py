"""Before, after, and what changed, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch

from rsmoe.figures.figure import FONT_PT, PAGE_WIDTH_IN, rgb, save_figure
from rsmoe.figures.sheet import LINE_IN, Sheet, wrap

_COLOURS = (
    "#D55E00", "#0072B2", "#CC79A7", "#009E73", "#F0E442", "#56B4E9", "#882255", "#999933", "#332288", "#E8A0A0",
)  # fmt: skip
"""Of Okabe and Ito's palette and Tol's, for kinds 1, 2 ...; from the eleventh on they begin again."""

_IN_A_ROW = 5
"""Names in a row of the legend."""


def draw_change(
    path: Path,
    *,
    before: np.ndarray,
    after: np.ndarray,
    kinds: np.ndarray,
    valid: np.ndarray,
    names: Sequence[str],
    text: str,
    titles: Sequence[str] = ("before", "after"),
    changed: float | None = None,
) -> Path:
    """Writes three pictures of one size, lines of a 3 x 3 grid on the last, and the answer below.

    Args:
        before, after: (H, W, C) uint8; the first three bands are shown, one band as grey.
        kinds: (H, W) uint8, 0 for no change.
        valid: (H, W) bool; what holds no data is hatched grey.
        names: of the values of ``kinds``.
        text: the model's answer.
        titles: of the two dates.
        changed: share of the pixels, where the pictures are thinned; None counts them.
    """
    height, width = kinds.shape
    gap, margin = 0.08, 0.1
    side = (PAGE_WIDTH_IN - 2 * margin - 2 * gap) / 3
    tall = min(max(side * height / width, 0.5), 8.0)
    lines = wrap(text, width_in=PAGE_WIDTH_IN - 2 * margin, lines=4) if text else []
    present = [int(k) for k in np.unique(kinds) if k]
    rows = -(-len(present) // _IN_A_ROW)
    foot = LINE_IN * (len(lines) + 0.4 + 1.2 * rows) + 0.1
    sheet = Sheet(width=PAGE_WIDTH_IN, height=tall + foot + LINE_IN + 0.15)
    pictures = [rgb(before), rgb(after), _overlay(rgb(after), kinds, valid)]
    if changed is None:
        changed = float((kinds[valid] > 0).mean()) if valid.any() else 0.0
    for i, (picture, title) in enumerate(zip(pictures, (*titles, f"changed: {100 * changed:.1f} %"), strict=True)):
        x = margin + i * (side + gap)
        axes = sheet.axes(x, foot, side, tall)
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        sheet.text(x, sheet.height - 0.05, title, weight="bold")
        if i == 2:
            for third in (1, 2):
                axes.axhline(third * height / 3 - 0.5, color="white", linewidth=0.6)
                axes.axvline(third * width / 3 - 0.5, color="white", linewidth=0.6)
    for i, line in enumerate(lines):
        sheet.text(margin, foot - 0.06 - i * LINE_IN, line)
    if present:
        patches = [Patch(color=_colour(k), label=names[k] if k < len(names) else f"kind {k}") for k in present]
        sheet.figure.legend(
            handles=patches, loc="lower right", ncols=min(len(patches), _IN_A_ROW), frameon=False,
            fontsize=FONT_PT, bbox_to_anchor=(1.0, 0.0), borderaxespad=0.1, columnspacing=1.0, handlelength=1.2,
        )  # fmt: skip
    return save_figure(sheet.figure, path)


def _overlay(image: np.ndarray, kinds: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: the picture in grey, changes in colour, stripes where there is no data."""
    grey = image.astype(np.float32).mean(-1, keepdims=True)
    shown = np.repeat(80 + 0.6 * grey, 3, axis=-1)
    for kind in np.unique(kinds[kinds > 0]):
        red_green_blue = [int(_colour(int(kind))[i : i + 2], 16) for i in (1, 3, 5)]
        shown[kinds == kind] = 0.2 * shown[kinds == kind] + 0.8 * np.array(red_green_blue)
    return striped(shown, valid)


def striped(shown: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(H, W, 3) float -> uint8, with grey stripes where there is no data; ``shown`` is changed."""
    rows, columns = np.indices(valid.shape)
    shown[~valid] = np.where(((rows + columns) // 3 % 2 == 0)[~valid], 225, 195)[:, None]
    return shown.round().clip(0, 255).astype(np.uint8)


def map_colours(kinds: int) -> list[str]:
    """Of no change and of each kind, for the colour table of a map."""
    return ["#E0E0E0", *(_colour(kind) for kind in range(1, kinds + 1))]


def _colour(kind: int) -> str:
    return _COLOURS[(kind - 1) % len(_COLOURS)]
