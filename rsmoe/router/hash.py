"""Control: the expert is a hash of the instruction."""

from __future__ import annotations

import torch
from torch import Tensor

from rsmoe.router.fixed import FixedRouter
from rsmoe.router.request import RouterRequest

_PRIME = 2**31 - 1


class HashRouter(FixedRouter):
    """Hash routing: one expert, by a hash of the instruction's token ids modulo the number of experts (after Hash
    Layers, arXiv 2106.04426, which hash single tokens).

    The same words always reach the same expert, and similar words any other.
    """

    def chosen(self, request: RouterRequest) -> Tensor:
        """One of the allowed experts."""
        value = torch.zeros(len(request.queries), dtype=torch.long, device=request.queries.device)
        for ids, mask in zip(request.instruction_ids.T, request.instruction_mask.T, strict=True):
            value = torch.where(mask, (value * 31 + ids + 1) % _PRIME, value)  # padding changes nothing
        value = value * 48271 % _PRIME  # so that the last token alone does not decide
        experts = request.allowed.nonzero().squeeze(1)
        chosen = experts[value % len(experts)]
        return torch.zeros(len(chosen), self.experts, dtype=torch.bool, device=chosen.device).scatter(
            1, chosen[:, None], True
        )
