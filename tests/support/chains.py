"""Markov chains in the place of language models: what a search finds in them can be found by trying everything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rsmoe.data.text_codec import TextCodec
from rsmoe.experts.output import BankOutput
from rsmoe.router.routing import Rows


class Chain(nn.Module):
    """E Markov chains behind the interface of the bank: the state of a row is the sum of what it has read."""

    def __init__(self, *, experts: int, vocabulary: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = 2.5 * torch.randn(experts, 2 * vocabulary**2, vocabulary, generator=generator)
        self.code = torch.arange(1, vocabulary + 1).float()
        self.size = experts

    def embed(self, ids: Tensor, expert: Tensor) -> Tensor:
        return self.code[ids][..., None]

    def forward(self, embeds: Tensor, mask: Tensor, expert: Tensor, cache: Any = None) -> BankOutput:
        past = torch.zeros(len(embeds)) if isinstance(cache, str) else cache
        assert mask.shape[1] >= embeds.shape[1]
        state = past * 1.7 + embeds[:, :, 0].sum(1)
        return BankOutput(hidden=state[:, None, None], cache=state)

    def select(self, cache: Tensor, expert: Tensor, index: Tensor) -> Tensor:
        return cache[index]

    def logits(self, hidden: Tensor, expert: Tensor) -> Tensor:
        place = (hidden[..., 0] * 7).round().long() % self.table.shape[1]
        return self.table[expert, place]


def start_of(sample: int, rows: int) -> Tensor:
    return torch.full((rows, 1, 1), float(sample))


ROWS = Rows(
    sample=torch.tensor([0, 1, 0, 2, 0]),
    expert=torch.tensor([0, 0, 1, 1, 2]),
    weight=torch.tensor([0.5, 1.0, 0.3, 1.0, 0.2]),
)
"""Three samples, of three experts, of one and of one."""


class Letters(TextCodec):
    """Token 0 is "a", token 1 is "b"."""

    def __init__(self) -> None:
        pass

    def decode(self, ids: Iterable[int], *, strip: bool = True) -> str:
        return "".join(chr(ord("a") + i) for i in ids)
