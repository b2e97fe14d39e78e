"""Soft prompts: learned tokens per expert, moved by what the image and the instruction say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.router.prompts import PromptRequest, Prompts
from rsmoe.temporal.memory import VisualMemory


class SoftPrompts(nn.Module):
    """prompt_e = base_e + W mean(queries), P tokens per row; differentiable through the router's queries.

    Args:
        width: D of the language model.
        templates: (E, P') token ids per expert; only their number is used here.
        tokens: P.
    """

    reads_templates = False
    terms: Mapping[str, float] = {}

    def __init__(
        self, *, width: Positive, templates: Sequence[Sequence[int]], vocab_size: Positive, tokens: Positive = 4
    ) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.randn(len(templates), tokens, width) * 0.02)
        self.condition = nn.Linear(width, tokens * width)
        nn.init.normal_(self.condition.weight, std=0.02 / width**0.5)
        nn.init.zeros_(self.condition.bias)

    def forward(self, request: PromptRequest) -> Prompts:
        """R rows -> `Prompts` with embeds (R, P, D)."""
        if request.share is None:
            base = self.base[request.expert]
        else:
            base = torch.einsum("re,epd->rpd", request.share.to(self.base.dtype), self.base)
        mean = VisualMemory(tokens=request.queries, mask=request.queries_mask).mean()
        shift: Tensor = self.condition(mean).view_as(base)
        return Prompts(embeds=base + shift, mask=torch.ones(base.shape[:2], dtype=torch.bool, device=base.device))

    @torch.no_grad()
    def upcycle(self, source: int) -> None:
        """Copies one expert's tokens to every expert."""
        self.base.copy_(self.base[source].expand_as(self.base))
