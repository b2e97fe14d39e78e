"""Clusters of training instructions, for ``router=clusters``."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pad_sequence

from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.sampling.dataset_mixture import Mixture
from rsmoe.data.sampling.spread import spread
from rsmoe.model import RSMoE
from rsmoe.router.clusters import ClusterRouter

MOST = 4096
"""Instructions that clusters are found on, evenly spread over the training samples."""


def fit_clusters(model: RSMoE, data: RSDataModule) -> None:
    """Finds the clusters of a `ClusterRouter`, before the first step; nothing for every other router."""
    if not isinstance(model.router, ClusterRouter):
        return
    pool, collate = Mixture(list(data.datasets["train"].values())), data.train_collate
    asked = [pool[place, 0][0].instruction for place in spread(len(pool), MOST)]
    ids = [
        torch.tensor(collate.instruction_codec.encode(text, wrap=True, last=collate.max_instruction)) for text in asked
    ]
    mask = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in ids], batch_first=True)
    model.router.fit(pad_sequence(ids, batch_first=True), mask)
