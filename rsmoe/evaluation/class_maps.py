"""Class maps of a model at the size of the pictures that they are of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rsmoe.data.batch import Batch
from rsmoe.data.rasters.images import picture_size
from rsmoe.geo.strips import row_slices
from rsmoe.maps import MapModule
from rsmoe.model import RSMoE
from rsmoe.perception import Sight

_STRIP_BYTES = 64 * 2**20
"""Of the probabilities that are held at once."""


def class_maps(model: RSMoE, sight: Sight, batch: Batch) -> list[dict[str, np.ndarray]]:
    """For each request, name of a map module -> (H, W) uint8 classes of the first picture of its view.

    The values are places in ``model.maps[name].names``. Requests on one view share an array.
    """
    sizes = dict(zip(batch.view.tolist(), picture_sizes(batch), strict=True))
    found: dict[int, dict[str, np.ndarray]] = {view: {} for view in sizes}
    for name, seen in sight.maps.items():
        for view, logits in zip(seen.views.tolist(), seen.evidence.logits, strict=True):
            if view in sizes:
                found[view][name] = _at_size(model.maps[name], logits, sizes[view])
    return [found[view] for view in batch.view.tolist()]


def picture_sizes(batch: Batch) -> list[tuple[int, int]]:
    """Height and width of the first picture of each request; a picture is looked at once."""
    known: dict[int, tuple[int, int]] = {}
    for view, sample in zip(batch.view.tolist(), batch.samples, strict=True):
        if view not in known:
            width, height = picture_size(sample.images[0])
            known[view] = height, width
    return [known[view] for view in batch.view.tolist()]


def _at_size(part: MapModule, logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """(K, h, w) logits -> (H, W) uint8 classes, strip by strip: all probabilities of a large picture fill memory."""
    strips = row_slices(size, _STRIP_BYTES // (4 * len(logits)))
    shares = (resized_rows(logits.float(), size, rows).softmax(0) for rows in strips)
    return np.concatenate([part.classify(some).cpu().numpy() for some in shares])


def resized_rows(logits: Tensor, shape: tuple[int, int], rows: slice) -> Tensor:
    """Some rows of (C, h, w) logits resized to (C, H, W), bilinear; resized whole, a large tile would fill memory."""
    source = (torch.arange(rows.start, rows.stop, device=logits.device) + 0.5) * (logits.shape[1] / shape[0]) - 0.5
    source = source.clamp_min(0)
    above = source.floor().long().clamp_max(logits.shape[1] - 1)
    below = (above + 1).clamp_max(logits.shape[1] - 1)
    part = (source - above)[:, None].float()
    mixed = logits[:, above] * (1 - part) + logits[:, below] * part
    return F.interpolate(mixed[None], size=(mixed.shape[1], shape[1]), mode="bilinear", align_corners=False)[0]
