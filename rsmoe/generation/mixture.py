"""Mixture fusion: each next token comes from the weighted mean of the experts' distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import NonNegativeReal
from rsmoe.data.batch import Batch
from rsmoe.data.text_codec import TextCodec
from rsmoe.experts import Bank
from rsmoe.generation.decoding import Decoding, OnToken, decode
from rsmoe.router.routing import Routing, Rows

if TYPE_CHECKING:
    from rsmoe.model import RSMoE
    from rsmoe.perception import Perception, Reading


class Mixture(nn.Module):
    """p(y_t | y_<t) = sum_e w_e p_e(y_t | y_<t): one text, differentiable through the router's weights.

    The RS-MoE paper does not publish its fusion; this one is ours and claims no parity. A fusion with other rows
    overrides `rows`.

    Args:
        codec, names, bank: of the fusion contract; unused.
        length_penalty: of beam search.
        length_weight: an answer of n tokens has the weight n ** length_weight in the loss. 1 is the mean over tokens,
            where a "yes" counts for almost nothing beside a description; 0 is the mean over answers; 0.5 lies between
            (square averaging of InternVL, arXiv 2412.05271, section 3.2).
    """

    terms: Mapping[str, float] = {}

    def __init__(
        self,
        *,
        codec: TextCodec,
        names: Sequence[str],
        bank: Bank,
        length_penalty: NonNegativeReal = 1.0,
        length_weight: NonNegativeReal = 1.0,
    ) -> None:
        super().__init__()
        self.length_penalty, self.length_weight = length_penalty, length_weight

    def rows(self, routing: Routing) -> Rows:
        """A row for each chosen expert of a request."""
        return routing.rows()

    def log_probability(self, model: RSMoE, batch: Batch, reading: Reading) -> tuple[Tensor, Tensor]:
        """Log-probability (B, Lr) of each response token under the mixture, and the weighted mean (B, Lr) of
        ``reading.smooth``."""
        rows, samples = reading.rows, len(batch)
        flat = sum_rows(reading.smooth * rows.weight[:, None], rows, samples)
        return mix(reading.log_probability, rows, samples), flat

    def losses(self, model: RSMoE, batch: Batch, reading: Reading, *, smoothing: float = 0.0) -> dict[str, Tensor]:
        """Negative log-likelihood of the responses' tokens, averaged by ``length_weight``.

        ``smoothing`` is label smoothing: that share of the target goes to the uniform distribution.
        """
        loss = smoothed(*self.log_probability(model, batch, reading), smoothing=smoothing)
        return {"text": by_length(loss, batch.response_mask, power=self.length_weight)}

    @torch.no_grad()
    def generate(
        self,
        model: RSMoE,
        batch: Batch,
        perception: Perception,
        *,
        end_id: int,
        beams: int,
        each: Sequence[Decoding],
        on_token: OnToken | None = None,
    ) -> list[list[int]]:
        """B answers as token ids."""
        rows = self.rows(perception.routing)
        embeds, mask, _ = model.start(batch, perception.prefix, rows)
        return decode(
            model.bank,
            embeds,
            mask,
            rows,
            each=each,
            end_id=end_id,
            beams=beams,
            length_penalty=self.length_penalty,
            on_token=on_token,
        )


def smoothed(log_probability: Tensor, flat: Tensor, *, smoothing: float) -> Tensor:
    """Label-smoothed negative log-likelihood of tokens; ``flat`` is the mean log-probability over the vocabulary."""
    return -(1 - smoothing) * log_probability - smoothing * flat if smoothing > 0 else -log_probability


def by_length(loss: Tensor, mask: Tensor, *, power: float) -> Tensor:
    """Mean of token losses (B, L) in which an answer of n tokens has the weight n ** power; 0 without tokens."""
    share = mask * mask.sum(1, keepdim=True).clamp_min(1).to(loss.dtype) ** (power - 1)  # (B, L)
    return (loss * share).sum() / share.sum().clamp_min(1e-9)


def sum_rows(values: Tensor, rows: Rows, samples: int) -> Tensor:
    """(R, ...) -> (B, ...), the sum over the rows of each sample."""
    return values.new_zeros(samples, *values.shape[1:]).index_add(0, rows.sample, values)


def mix(log_probability: Tensor, rows: Rows, samples: int) -> Tensor:
    """(R, L) log-probabilities of every row -> (B, L) of the mixture: log sum_e w_e p_e."""
    return log_sum(log_probability + rows.weight.clamp_min(1e-20).log()[:, None], rows, samples)


def log_sum(values: Tensor, rows: Rows, samples: int) -> Tensor:
    """(R, L) -> (B, L), log sum exp over the rows of each sample."""
    peak = values.new_full((samples, values.shape[1]), float("-inf"))
    index = rows.sample[:, None].expand_as(values)
    peak = peak.scatter_reduce(0, index, values.detach(), "amax")
    total = torch.zeros_like(peak).scatter_add(0, index, (values - peak[rows.sample]).exp())
    return peak + total.log()
