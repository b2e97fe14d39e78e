"""Fixed sub-instructions: the same words for an expert, whatever the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rsmoe.router.prompts import PromptRequest, Prompts


class TemplatePrompts(nn.Module):
    """Each expert's template from its yaml, tokenised once; nothing is learned.

    Since the words differ by expert, upcycled experts do not start equal to the dense model here (they do with
    `SoftPrompts`).

    Args:
        width, vocab_size: of the prompt contract; unused.
        templates: token ids of each expert's template.
    """

    reads_templates = True
    terms: Mapping[str, float] = {}
    ids: Tensor
    mask: Tensor

    def __init__(self, *, width: int, templates: Sequence[Sequence[int]], vocab_size: int) -> None:
        super().__init__()
        longest = max(1, *map(len, templates))
        ids = torch.zeros(len(templates), longest, dtype=torch.long)
        mask = torch.zeros(len(templates), longest, dtype=torch.bool)
        for row, template in enumerate(templates):
            if template:
                ids[row, longest - len(template) :] = torch.tensor(template)
                mask[row, longest - len(template) :] = True
        self.register_buffer("ids", ids)
        self.register_buffer("mask", mask)

    def forward(self, request: PromptRequest) -> Prompts:
        """R rows -> `Prompts` with ids (R, P)."""
        return Prompts(ids=self.ids[request.expert], mask=self.mask[request.expert])

    def upcycle(self, source: int) -> None:
        """Nothing to copy."""
