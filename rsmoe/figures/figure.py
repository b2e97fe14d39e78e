"""Colours, sizes and saving, common to all figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rsmoe.files import whole_file

PAGE_WIDTH_IN = 7.2
"""Text width of a two-column page."""
FONT_PT = 8.0
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6E6E6E"
"""Blue, vermillion and bluish green of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/)."""

PLOT_STYLE: dict[Any, Any] = {
    "font.size": FONT_PT,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), FONT_PT),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    "axes.spines.top": False,
    "axes.spines.right": False,
}
"""Of plots with axes, for ``matplotlib.rc_context``."""


def rgb(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) -> (H, W, 3): one or two bands are grey, more show their first three."""
    if image.ndim == 2:
        image = image[..., None]
    return image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Write a PNG of 200 dpi to ``path``, creating its folder; an interrupted write leaves no file of that name.

    Raises `UserError` when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=200, facecolor="white")
    return path


def shorten(text: str, limit: int) -> str:
    """``text`` on one line of at most ``limit`` characters, "…" where it was cut."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
