"""Sampling: the next token is drawn, for each request by its own settings and its own random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rsmoe.generation.decoding import Decoding


class Sampler:
    """Chooses the next token of B requests: the most probable one at temperature 0, else a draw.

    Every draw takes one number from a generator of its request's own, whatever the other requests do: with the same
    seed an answer is the same alone and in any batch, as far as the arithmetic of the batch is (logits of another batch
    size may differ in their last bits).

    Args:
        each: settings of every request.
        device: of the log-probabilities.
    """

    def __init__(self, each: Sequence[Decoding], *, device: torch.device) -> None:
        drawn = [place for place, one in enumerate(each) if one.temperature > 0]
        # fp64: the sum over a vocabulary of 150 000 words keeps its rare words; Apple's GPUs have fp32 alone
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._place = torch.tensor(drawn, dtype=torch.long, device=device)
        self._temperature = torch.tensor([each[i].temperature for i in drawn], dtype=exact, device=device)
        self._top_p = torch.tensor([each[i].top_p for i in drawn], dtype=exact, device=device)
        self._generators = [torch.Generator() for _ in drawn]  # on the CPU: the same numbers on every device
        for generator, place in zip(self._generators, drawn, strict=True):
            seed = each[place].seed
            if seed is None:
                generator.seed()
            else:
                generator.manual_seed(seed)

    def __call__(self, log_probability: Tensor) -> Tensor:
        """(B, V) -> (B,) long."""
        token = log_probability.argmax(-1)
        if self._generators:
            numbers = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in self._generators])
            some = log_probability[self._place].to(self._temperature.dtype)
            p = sampled_distribution(some, temperature=self._temperature, top_p=self._top_p)
            token[self._place] = _draw(p, numbers.to(p))
        return token


def sampled_distribution(log_probability: Tensor, *, temperature: Tensor, top_p: Tensor) -> Tensor:
    """What is drawn from: softmax(log p / temperature), cut to its nucleus (Holtzman et al., arXiv 1904.09751).

    The nucleus is the fewest tokens, the most probable first, whose probabilities add up to ``top_p`` or more.

    Args:
        log_probability: (n, V).
        temperature: (n,) above 0.
        top_p: (n,) from 0, the most probable token alone, to 1, all.

    Returns:
        (n, V), rows that sum to 1.
    """
    p = (log_probability / temperature[:, None]).softmax(-1)
    if bool((top_p < 1).any()):
        ordered, place = p.sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        outside = (before >= top_p[:, None]) & (top_p[:, None] < 1)
        outside[:, 0] = False
        p = p.masked_fill(torch.zeros_like(outside).scatter(1, place, outside), 0.0)
        p = p / p.sum(-1, keepdim=True)
    return p


def _draw(p: Tensor, number: Tensor) -> Tensor:
    """(n, V) probabilities and (n,) numbers in [0, 1) -> (n,) tokens, by the inverse of the cumulative distribution."""
    cumulative = p.cumsum(-1)
    total = cumulative[:, -1:]
    found = torch.searchsorted(cumulative, number[:, None] * total, right=True)
    last = (cumulative < total).sum(-1, keepdim=True)  # rounding may reach the total: the last one with any probability
    return torch.minimum(found, last).squeeze(1)
