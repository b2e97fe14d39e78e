"""Maps of changes of several methods beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.sample import Sample
from rsmoe.figures.figure import PAGE_WIDTH_IN, rgb, save_figure
from rsmoe.figures.sheet import LINE_IN, Sheet, wrap

_GAP_IN, _MARGIN_IN = 0.05, 0.06
_FOUND, _FALSE, _MISSED, _HIDDEN = (255, 255, 255), (213, 94, 0), (86, 180, 233), (110, 110, 110)


def draw_maps(path: Path, pairs: Sequence[Sample], maps: Mapping[str, Sequence[np.ndarray]]) -> Path:
    """Writes a row a pair: before, after, truth, and each method's map with its IoU.

    White is rightly found, vermillion falsely, light blue is missed, grey is unknown.

    Args:
        path: of the PNG, 7.2 in wide.
        pairs: samples of two dates with a class map.
        maps: method -> (H, W) maps of the pairs, 0 for no change; further ones are not drawn.
    """
    columns = 3 + len(maps)
    side = (PAGE_WIDTH_IN - 2 * _MARGIN_IN - (columns - 1) * _GAP_IN) / columns
    row_in = side + LINE_IN + _GAP_IN
    sheet = Sheet(width=PAGE_WIDTH_IN, height=LINE_IN * 2.4 + len(pairs) * row_in + _MARGIN_IN)
    for column, title in enumerate(("before", "after", "truth", *maps)):
        name = wrap(title, width_in=side, lines=1, weight="bold")[0]
        sheet.text(_MARGIN_IN + column * (side + _GAP_IN), sheet.height - 0.05, name, weight="bold")
    for row, pair in enumerate(pairs):
        assert pair.class_map is not None
        true = read_array(pair.class_map)
        pictures = [rgb(load_image(image)) for image in pair.images]
        titles = [
            wrap(pair.id, width_in=2 * side, lines=1)[0],
            "",
            f"{100 * ((true > 0) & (true != UNKNOWN)).mean():.1f} %",
        ]
        pictures.append(_coloured(true > 0, true))
        for own in maps.values():
            pictures.append(_coloured(own[row] > 0, true))
            titles.append(f"IoU {_iou(own[row] > 0, true):.0f}")
        bottom = sheet.height - LINE_IN * 1.4 - (row + 1) * row_in + LINE_IN
        for column, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
            x = _MARGIN_IN + column * (side + _GAP_IN)
            sheet.axes(x, bottom, side, side).imshow(picture, interpolation="nearest", aspect="auto")
            sheet.text(x, bottom - 0.03, title)
    legend = {"rightly found": _FOUND, "false alarm": _FALSE, "missed": _MISSED}
    for place, (name, colour) in enumerate(legend.items()):
        x = _MARGIN_IN + 1.1 * place
        sheet.rectangle(x, 0.05, 0.09, 0.09, "#{:02x}{:02x}{:02x}".format(*colour), edge="black")
        sheet.text(x + 0.14, 0.14, name)
    return save_figure(sheet.figure, path)


def _coloured(said: np.ndarray, true: np.ndarray) -> np.ndarray:
    changed = true > 0
    picture = np.zeros((*true.shape, 3), dtype=np.uint8)
    picture[said & changed], picture[said & ~changed], picture[~said & changed] = _FOUND, _FALSE, _MISSED
    picture[true == UNKNOWN] = _HIDDEN
    return picture


def _iou(said: np.ndarray, true: np.ndarray) -> float:
    known = true != UNKNOWN
    either = ((said | (true > 0)) & known).sum()
    return 100 * float((said & (true > 0) & known).sum() / either) if either else 100.0
