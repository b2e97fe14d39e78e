"""What a reply says of its making, for the user."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rsmoe.evaluation.map_tiles import TiledMap
from rsmoe.evaluation.tiled_answer import TiledAnswer
from rsmoe.geo.dates import Dates
from rsmoe.metrics.prediction import Prediction


def reply_notes(
    dates: Dates,
    shown: Dates,
    prediction: Prediction,
    tiled: Mapping[str, TiledMap],
    answered: TiledAnswer | None,
    mask: np.ndarray | None,
) -> tuple[str, ...]:
    """What was done to the pictures for an answer, and that its mask is empty: `rsmoe.evaluation.reply.Reply.notes`.

    Args:
        shown: what the words are about, thinned where the picture is large.
        tiled: the maps in tiles, by name.
        answered: masks and boxes in tiles; None where the whole picture was answered.
        mask: (h, w) bool of the answer, thinned where it is in tiles; None without one.
    """
    notes = list(dates.notes)
    if answered is not None:
        said = "boxes" if answered.mask is None else "mask" if answered.boxes is None else "mask and boxes"
        notes.append(f"{said}: {answered.tiles} tiles of {answered.tile_px} px, each answered by itself")
    if mask is not None and not (mask.any() if answered is None else len(answered.numbers)):
        notes.append("mask: it is empty, nothing was found to mark")
    if shown.valid.shape == dates.valid.shape:
        return tuple(notes)
    (height, width), (deep, wide) = dates.valid.shape, shown.valid.shape
    thinned = ["words", *(["mask"] if prediction.mask is not None and answered is None else [])]
    thinned += ["land cover"] if "land_cover" in prediction.outputs and "land_cover" not in tiled else []
    said = f"{' and '.join(thinned)}: {width} x {height} px are read thinned to {wide} x {deep}"
    whole = "mask" in thinned and prediction.mask_logits is not None
    return (*notes, said + ("; tile=1024 answers tiles of so many pixels" if whole else ""))
