"""One vector per sample's image, in the space of a trained model: what nearest neighbours are looked up in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rsmoe.data.collate import Collate
from rsmoe.data.rasters.images import images_key
from rsmoe.data.sample import Sample
from rsmoe.model import RSMoE
from rsmoe.training.ranks import joined, my_share


@torch.no_grad()
def image_features(
    model: RSMoE, collate: Collate, samples: Sequence[Sample], *, batch_size: int = 64, shared: bool = False
) -> Tensor:
    """(n, D) mean of the visual memory; every distinct image, or pair, is encoded once.

    Args:
        collate: of evaluation, without augmentation.
        shared: True where every rank calls this with the same samples: each then encodes its part of the images.
    """
    model.eval()
    keys = [images_key(sample) for sample in samples]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    order = {key: n for n, key in enumerate(first)}
    pooled = []
    chosen = [samples[i] for i in first.values()]
    rank, world = my_share() if shared else (0, 1)
    for start in range(rank * batch_size, len(chosen), world * batch_size):
        batch = collate([(s, 0) for s in chosen[start : start + batch_size]]).to(model.to_lm.weight.device)
        pooled.append(model.see(batch).memory.mean().float().cpu())
    return torch.cat(joined(pooled) if shared else pooled)[[order[key] for key in keys]]
