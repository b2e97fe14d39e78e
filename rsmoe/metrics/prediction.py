"""What a model answered, for one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One line of ``predictions.jsonl``, and the arrays that are not written there."""

    id: str
    """`Sample.id`."""
    task: str
    """One of `rsmoe.data.TASKS`."""
    kind: str = ""
    """`Sample.kind`."""
    text: str = ""
    """The decoded answer; empty where the model wrote nothing, which counts as wrong."""
    mask: np.ndarray | None = None
    """(H, W) bool of the size of `Sample.mask`; None where the model gave none."""
    image_embedding: np.ndarray | None = None
    """(D,) float."""
    text_embeddings: np.ndarray | None = None
    """(n, D) float, one per reference of the sample."""
    weights: tuple[float, ...] = ()
    """The router's weights over ``experts``; empty without a router."""
    experts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain types without the arrays, for json; of a mask only whether there is one."""
        row: dict[str, Any] = {"id": self.id, "task": self.task, "kind": self.kind, "text": self.text}
        if self.task == "mask":
            row["has_mask"] = self.mask is not None
        if self.weights:
            row["routing"] = dict(zip(self.experts, (round(w, 6) for w in self.weights), strict=True))
        return row
