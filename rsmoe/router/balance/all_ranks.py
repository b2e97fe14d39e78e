"""Means over the requests of all ranks."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def mean_over_ranks(values: Tensor) -> Tensor:
    """(B, E) of this rank -> (E,) mean over the requests of all ranks; every rank has to call it.

    The gradient is that of this rank's part, scaled so that the mean of the ranks' gradients, which DDP takes, is the
    gradient of the joint mean.
    """
    own, count = values.sum(0), len(values)
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return own / max(count, 1)
    total = torch.cat([own.detach(), own.new_tensor([float(count)])])
    distributed.all_reduce(total)
    mean = total[:-1] / total[-1]
    part = own * distributed.get_world_size() / total[-1]
    return part + (mean - part.detach())
