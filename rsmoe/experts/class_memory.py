"""Memory of what the targets of a class look like, read by the pixels before they are marked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What the memory holds for g replies."""

    slots: Tensor
    """(g, S, C)."""
    classes: Tensor | None
    """(g, K) logits of the class of the targets; None where there are no classes."""


class ClassMemory(nn.Module):
    """Class-wise learnable memory: S learned slots for each of K classes; with one class, slots that all share.

    1. recall: p = softmax(W [SEG]), the class as the words tell it; slots = sum_k p_k bank_k
    2. write: one more slot, MLP(mean of the pixel features inside of the masks so far)
    3. read: every pixel attends to the slots, M' = M + O softmax(Q M (K slots)^T / sqrt(C)) V slots

    After GeoPix (arXiv 2501.06828), whose released bank holds 64 maps of 32 x 32 for each of 75 classes (2.5 GB), is
    told class 74 for every request, drops what it writes and returns features that do not depend on it; slots that are
    shared are the latent knowledge memory of UniGeoSeg (arXiv 2511.23332).

    Args:
        width: C.
        classes: K.
        slots: S.
    """

    def __init__(self, *, width: Positive, classes: Positive, slots: Positive) -> None:
        super().__init__()
        self.bank = nn.Parameter(torch.randn(classes, slots, width))
        self.classify = nn.Linear(width, classes) if classes > 1 else None
        self.written = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, asked: Tensor) -> Recalled:
        """(g, C) mean query of each reply -> its slots."""
        if self.classify is None:
            return Recalled(slots=self.bank.expand(len(asked), -1, -1), classes=None)
        logits = self.classify(asked)
        return Recalled(slots=torch.einsum("gk,ksc->gsc", logits.softmax(1), self.bank), classes=logits)

    def write(self, recalled: Recalled, masks: Tensor, features: Tensor, view: Tensor, reply: Tensor) -> Tensor:
        """(g, S + 1, C): the slots, and what the masks so far show.

        Args:
            masks: (n, h, w) logits of the n [SEG].
            features: M, (V, C, h, w).
            view, reply: (n,) long, of each [SEG].
        """
        inside = masks.sigmoid().flatten(1)  # (n, h * w)
        shown = torch.bmm(features.flatten(2)[view], inside[..., None])[..., 0]  # (n, C)
        groups = len(recalled.slots)
        total = shown.new_zeros(groups, shown.shape[1]).index_add(0, reply, shown)
        pixels = inside.new_zeros(groups).index_add(0, reply, inside.sum(1))
        return torch.cat([recalled.slots, self.written(total / (pixels[:, None] + 1))[:, None]], dim=1)

    def read(self, embed: Tensor, slots: Tensor, features: Tensor, view: Tensor, reply: Tensor) -> Tensor:
        """(n, h, w) logits that reading adds: <embed, M' - M> / sqrt(C), without M' of each reply being made.

        Args:
            embed: (n, C) what the features are multiplied with.
            slots: (g, S + 1, C).
            features, view, reply: as of `write`.
        """
        scale = embed.shape[1] ** -0.5
        slots = self.norm(slots)
        asked = self.query(features.flatten(2).transpose(1, 2))  # (V, h * w, C)
        keys = self.key(slots)[reply].transpose(1, 2)  # (n, C, S + 1)
        share = (torch.bmm(asked[view], keys) * scale).softmax(-1)  # (n, h * w, S + 1)
        brought = torch.bmm(self.out(self.value(slots))[reply], embed[..., None]) * scale  # (n, S + 1, 1)
        return torch.bmm(share, brought)[..., 0].view(len(embed), *features.shape[-2:])
