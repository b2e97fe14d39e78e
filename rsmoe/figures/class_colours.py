"""Colours of the classes of a land cover map, one each."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

_SURFACES = {
    "water": "#2B7BBA", "forest": "#1B7837", "tree": "#1B7837", "trees": "#1B7837", "grass": "#A6D96A",
    "low vegetation": "#A6D96A", "rangeland": "#A6D96A", "farmland": "#E3C567", "agriculture": "#E3C567",
    "agriculture land": "#E3C567", "bare land": "#B08D6A", "bareland": "#B08D6A", "barren": "#B08D6A",
    "unpaved land": "#B08D6A", "vegetation": "#1B7837", "sea": "#2B7BBA", "river": "#2B7BBA", "other": "#E0E0E0",
    "sand": "#F3E3B3", "rock": "#8C7B75", "road": "#4D4D4D", "impervious surfaces": "#BDBDBD", "paved": "#BDBDBD",
    "building": "#C0392B", "buildings": "#C0392B", "background": "#E0E0E0",
}  # fmt: skip
"""What readers of maps expect of the names of common data sets, in lower case."""
_GOLDEN = 0.618034


def class_colours(names: Sequence[str]) -> list[str]:
    """ "#rrggbb" of every class: known surfaces as maps show them, others spread over hues and three lightnesses."""
    colours, others = [], 0
    for name in names:
        known = _SURFACES.get(name.lower())
        if known is None or known in colours:
            red, green, blue = colorsys.hls_to_rgb(others * _GOLDEN % 1, (0.5, 0.36, 0.68)[others % 3], 0.75)
            known = "#" + "".join(f"{round(255 * value):02X}" for value in (red, green, blue))
            others += 1
        colours.append(known)
    return colours
