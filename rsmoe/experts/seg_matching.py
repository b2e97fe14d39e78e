"""One to one: which [SEG] of a reply stands for which true mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def matched(logits: Tensor, numbers: Tensor, counts: Sequence[int], *, terms: Mapping[str, float]) -> Tensor:
    """The true mask of each [SEG], by the assignment of least loss (Hungarian algorithm; DETR, arXiv 2005.12872).

    A reply with one [SEG] has the union of its targets. Of several [SEG], those that are left over have an empty mask;
    targets that are left over teach nothing.

    Args:
        logits: (n, h, w) masks so far.
        numbers: (g, H, W) uint8 number of the target of each pixel, 0 none.
        counts: of each of the g replies, how many of the n [SEG] are its own.
        terms: weights of the losses "mask_bce" and "mask_dice".

    Returns:
        (n, H, W) float in {0, 1}.
    """
    from scipy.optimize import linear_sum_assignment  # here: half a second, for training alone

    size = (logits.shape[1], logits.shape[2])
    targets = []
    for own, number in zip(logits.split(list(counts)), numbers, strict=True):
        known = torch.arange(1, int(number.max()) + 1, device=number.device)
        if len(own) == 1 or not len(known):
            targets.append((number > 0).float().expand(len(own), -1, -1))
            continue
        true = (number == known[:, None, None]).float()  # (m, H, W)
        cost = pair_costs(own, F.adaptive_avg_pool2d(true, size), terms=terms)
        rows, columns = linear_sum_assignment(cost.cpu().numpy())
        mine = true.new_zeros(len(own), *true.shape[1:])
        mine[torch.from_numpy(rows)] = true[torch.from_numpy(columns)]
        targets.append(mine)
    return torch.cat(targets)


def pair_costs(logits: Tensor, true: Tensor, *, terms: Mapping[str, float]) -> Tensor:
    """(k, h, w) logits and (m, h, w) masks -> (k, m) weighted pixel cross-entropy and soft dice of every pair."""
    x, t = logits.float().flatten(1), true.flatten(1)
    p = x.sigmoid()
    bce = (F.softplus(-x) @ t.T + F.softplus(x) @ (1 - t).T) / t.shape[1]
    dice = 1 - (2 * p @ t.T + 1) / (p.sum(1)[:, None] + t.sum(1) + 1)
    return terms["mask_bce"] * bce + terms["mask_dice"] * dice
