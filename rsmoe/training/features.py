"""One vector per sample's image, in the space of a trained model: what nearest neighbours are looked up in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rsmoe.data.collate import Collate
from rsmoe.data.sample import Sample
from rsmoe.model import RSMoE


@torch.no_grad()
def image_features(model: RSMoE, collate: Collate, samples: Sequence[Sample], *, batch_size: int = 64) -> Tensor:
    """(n, D) mean of the visual memory; every distinct image, or pair, is encoded once.

    Args:
        collate: of evaluation, without augmentation.
    """
    model.eval()
    keys = [tuple(str(i) if not hasattr(i, "shape") else id(i) for i in s.images) for s in samples]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    order = {key: n for n, key in enumerate(first)}
    pooled = []
    chosen = [samples[i] for i in first.values()]
    for start in range(0, len(chosen), batch_size):
        batch = collate([(s, 0) for s in chosen[start : start + batch_size]]).to(model.to_lm.weight.device)
        pooled.append(model.see(batch).memory.mean().float().cpu())
    return torch.cat(pooled)[[order[key] for key in keys]]
