"""Fusion by mixture: the experts of a sample share every next token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import NonNegativeReal
from rsmoe.data.batch import Batch
from rsmoe.data.text_codec import TextCodec
from rsmoe.generation.decoding import Decoding, OnToken, decode
from rsmoe.router.routing import Rows

if TYPE_CHECKING:
    from rsmoe.model import RSMoE
    from rsmoe.perception import Perception, Reading


class Mixture(nn.Module):
    """p(y_t | y_<t) = sum_e w_e p_e(y_t | y_<t): one text, differentiable through the router's weights.

    The RS-MoE paper does not publish its fusion; this one is ours (design section 3) and claims no parity.

    Args:
        codec, names: of the fusion contract; unused.
        length_penalty: of beam search.
        length_weight: an answer of n tokens weighs n ** length_weight in the loss. 1 is the mean over tokens, where
            "yes" beside a description learns nothing; 0 the mean over answers; 0.5 lies between, as in InternVL
            (square averaging, arXiv 2412.05271, section 3.2).
    """

    terms: Mapping[str, float] = {}

    def __init__(
        self,
        *,
        codec: TextCodec,
        names: Sequence[str],
        length_penalty: NonNegativeReal = 1.0,
        length_weight: NonNegativeReal = 1.0,
    ) -> None:
        super().__init__()
        self.length_penalty, self.length_weight = length_penalty, length_weight

    def losses(self, model: RSMoE, batch: Batch, reading: Reading, *, smoothing: float = 0.0) -> dict[str, Tensor]:
        """Negative log-likelihood of the responses' tokens under the mixture, averaged by ``length_weight``.

        ``smoothing`` moves that much of the target onto the uniform distribution, per row.
        """
        loss = token_losses(reading.log_probability, reading.smooth, reading.rows, len(batch), smoothing=smoothing)
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
        max_new: int,
        each: Sequence[Decoding] | None = None,
        on_token: OnToken | None = None,
    ) -> list[list[int]]:
        """B answers as token ids."""
        rows = perception.routing.rows()
        embeds, mask, _ = model.start(batch, perception.prefix, rows)
        return decode(
            model.bank,
            embeds,
            mask,
            rows,
            samples=len(batch),
            end_id=end_id,
            beams=beams,
            max_new=max_new,
            length_penalty=self.length_penalty,
            each=each,
            on_token=on_token,
        )


def token_losses(log_probability: Tensor, smooth: Tensor, rows: Rows, samples: int, *, smoothing: float) -> Tensor:
    """Negative log-likelihood (B, L) of every token under the mixture, with label smoothing per row.

    Args:
        log_probability: (R, L) of the reference tokens.
        smooth: (R, L) mean over the vocabulary.
        samples: B.
    """
    loss = -mix(log_probability, rows, samples)
    if smoothing > 0:
        flat = loss.new_zeros(loss.shape).index_add(0, rows.sample, smooth * rows.weight[:, None])
        loss = (1 - smoothing) * loss - smoothing * flat
    return loss


def by_length(loss: Tensor, mask: Tensor, *, power: float) -> Tensor:
    """Mean of (B, L) losses of tokens, where an answer of n tokens weighs n ** power; 0 without a token."""
    share = mask * mask.sum(1, keepdim=True).clamp_min(1).to(loss.dtype) ** (power - 1)  # (B, L)
    return (loss * share).sum() / share.sum().clamp_min(1e-9)


def mix(log_probability: Tensor, rows: Rows, samples: int) -> Tensor:
    """(R, L) log-probabilities of every row -> (B, L) of the mixture: log sum_e w_e p_e."""
    weighted = log_probability + rows.weight.clamp_min(1e-20).log()[:, None]
    peak = weighted.new_full((samples, weighted.shape[1]), float("-inf"))
    index = rows.sample[:, None].expand_as(weighted)
    peak = peak.scatter_reduce(0, index, weighted.detach(), "amax")
    total = torch.zeros_like(peak).scatter_add(0, index, (weighted - peak[rows.sample]).exp())
    return peak + total.log()
