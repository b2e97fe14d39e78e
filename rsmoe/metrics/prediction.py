"""What a model answered, for one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsmoe.data.rasters.rle import encode_rle
from rsmoe.data.tasks import find_task


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One line of ``predictions.jsonl``, and the arrays that are not written there."""

    id: str
    """`Sample.id`."""
    task: str
    """`Sample.task`."""
    kind: str = ""
    """`Sample.kind`."""
    text: str = ""
    """The decoded answer; empty where the model wrote nothing, which counts as wrong."""
    tokens: int = 0
    """Decoded for the answer, those of a stop word included, the end token not."""
    ended: bool = True
    """False where the answer was cut at its longest length."""
    mask: np.ndarray | None = None
    """(H, W) bool of the size of `Sample.mask`; None where the model gave none."""
    image_embedding: np.ndarray | None = None
    """(D,) float."""
    text_embeddings: np.ndarray | None = None
    """(n, D) float, one per reference of the sample."""
    weights: tuple[float, ...] = ()
    """The router's weights over ``experts``; empty without a router."""
    experts: tuple[str, ...] = ()
    masks: tuple[np.ndarray, ...] = ()
    """Masks (H, W) bool of several targets, one each."""
    mask_logits: np.ndarray | None = None
    """(h, w) float32 of ``mask`` at the size of the head, above 0 where it is true; None for the mask of a map."""
    expert: str = ""
    """Whose head gave the mask, boxes or embedding; without one, the expert of the highest weight."""
    boxes_px: np.ndarray | None = None
    """(m, 4) float ``x1 y1 x2 y2`` in pixels of the first image, of a head that locates, those of the highest sum of
    probabilities first. Boxes in words are in ``text``."""
    change_map: np.ndarray | None = None
    """(H, W) uint8 kind of change of each pixel of a pair, 0 none, of the first image's size; None without a map."""
    ranking: tuple[str, ...] = ()
    """Ids of what was retrieved, the best first."""
    sources: tuple[str, ...] = ()
    """Ids of the notes that the answer cites, see `rsmoe.data.notes`."""
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What other heads and maps made of the request, by their name: "land_cover", (H, W) uint8 classes of a picture."""

    def as_dict(self) -> dict[str, Any]:
        """Plain types for json, without embeddings and maps of classes; a mask in COCO's run-length code, to be scored
        again."""
        row: dict[str, Any] = {"id": self.id, "task": self.task, "kind": self.kind, "text": self.text}
        if self.mask is not None or find_task(self.task).answer == "mask":
            row["mask"] = None if self.mask is None else _rle(self.mask)
        if self.masks:
            row["masks"] = [_rle(mask) for mask in self.masks]
        if self.boxes_px is not None:
            row["boxes_px"] = np.round(self.boxes_px.astype(float), 2).tolist()
        if self.ranking:
            row["ranking"] = list(self.ranking)
        if self.sources:
            row["sources"] = list(self.sources)
        if self.outputs:
            row["outputs"] = {name: _plain(value) for name, value in self.outputs.items()}
        if self.weights:
            row["routing"] = dict(zip(self.experts, (round(w, 6) for w in self.weights), strict=True))
        return row


def _plain(value: np.ndarray) -> Any:
    """Numbers as they are, masks in run-length code; of larger arrays (maps, volumes) the shape alone."""
    array = np.asarray(value)
    if array.dtype == bool and array.ndim == 2:
        return _rle(array)
    return array.tolist() if array.ndim < 2 else {"shape": list(array.shape)}


def _rle(mask: np.ndarray) -> dict[str, Any]:
    return {"size": [int(side) for side in mask.shape], "counts": encode_rle(mask)}
