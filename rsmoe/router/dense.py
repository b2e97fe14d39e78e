"""No routing: the dense twin of a mixture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.router.routing import Routing


class DenseRouter(nn.Module):
    """Sends everything to expert 0 with weight 1 (``moe=none``, and stages with ``single_expert``).

    Args:
        width, vocab_size: of the router contract; unused.
        experts: E, the width of the returned tensors.
    """

    def __init__(self, *, width: int, vocab_size: int, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(
        self,
        queries: Tensor,
        instruction_ids: Tensor,
        instruction_mask: Tensor,
        *,
        allowed: Tensor | None = None,
        also: Tensor | None = None,
    ) -> Routing:
        """(B, M, D) -> `Routing` with all weight on expert 0; experts that are added share it equally."""
        logits = queries.new_zeros(len(queries), self.experts, dtype=torch.float32)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -1e4)
        chosen = torch.zeros_like(logits, dtype=torch.bool)
        chosen[:, 0] = True
        if also is not None:
            chosen = chosen | also
        return Routing(logits=logits, weights=chosen / chosen.sum(-1, keepdim=True), chosen=chosen)
