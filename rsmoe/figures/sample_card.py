"""One answer, as a person looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True)
class SampleCard:
    """One cell of `rsmoe.figures.samples_plot.plot_samples`."""

    images: Sequence[np.ndarray]
    """T arrays (H, W, C) or (H, W) uint8, in temporal order; the first three bands are shown."""
    instruction: str
    reference: str
    prediction: str
    correct: bool | None = None
    """None where right and wrong mean nothing, as for captions."""
    mask: np.ndarray | None = None
    """(H, W) bool predicted mask of the last image."""
    reference_mask: np.ndarray | None = None
    """(H, W) bool."""
    router: Mapping[str, float] = field(default_factory=dict)
    """Router weight by expert name."""
