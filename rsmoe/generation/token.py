"""Fusion by token: the experts of a sample share every next token, in shares that change from token to token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import NonNegativeReal
from rsmoe.data.aspects import ASPECTS, token_aspects
from rsmoe.data.batch import Batch
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.experts import Bank
from rsmoe.generation.decoding import mixed_log_probability
from rsmoe.generation.mixture import Mixture, log_sum, sum_rows
from rsmoe.router.routing import Rows

if TYPE_CHECKING:
    from rsmoe.model import RSMoE
    from rsmoe.perception import Reading


class TokenMixture(Mixture):
    """p(y_t | y_<t) = sum_e g_e(t) p_e(y_t | y_<t), g(t) = softmax_e(log w_e + u . h_e(t)) over the chosen experts.

    h_e(t) is the expert's last hidden state, which emits y_t; u starts at zero, where this is
    `rsmoe.generation.mixture.Mixture`, and trains in the stages whose ``train`` names ``fusion``. The gate is ours.

    With two of the experts theme, object and relation there is one more loss, "aspect": the mean of -log g_e(t) over
    the tokens of the sentences that are expert e's own (see `rsmoe.data.aspects`), of requests whose task e serves and
    that other experts answer too.

    Args:
        codec: of the language model.
        names: of the experts, in the bank's order.
        bank: gives the width of h.
        length_penalty, length_weight: as in `rsmoe.generation.mixture.Mixture`.
        aspect: weight of the loss "aspect".

    Raises:
        UserError: a weight of "aspect" without two of its experts.
    """

    def __init__(
        self,
        *,
        codec: TextCodec,
        names: Sequence[str],
        bank: Bank,
        length_penalty: NonNegativeReal = 1.0,
        length_weight: NonNegativeReal = 1.0,
        aspect: NonNegativeReal = 0.0,
    ) -> None:
        super().__init__(
            codec=codec, names=names, bank=bank, length_penalty=length_penalty, length_weight=length_weight
        )
        self.codec = codec
        self.aspects = {index: name for index, name in enumerate(names) if name in ASPECTS}
        if aspect and len(self.aspects) < 2:
            raise UserError(
                f"fusion.aspect={aspect} needs two of the experts {', '.join(ASPECTS)}; the experts are "
                f"{', '.join(names)}. Type for example expert=[theme,object,relation,vqa], or fusion.aspect=0"
            )
        self.terms: Mapping[str, float] = {"aspect": aspect} if len(self.aspects) > 1 else {}
        self.u = nn.Parameter(torch.zeros(bank.width))  # a bias would cancel in the softmax

    def log_gate(self, hidden: Tensor, rows: Rows, samples: int) -> Tensor:
        """(R, L, D) states -> (R, L) log g, in fp32: over the rows of each of B samples, g sums to 1."""
        with torch.autocast(hidden.device.type, enabled=False):
            score = hidden.float() @ self.u.float()
        score = score + rows.weight.clamp_min(1e-20).log()[:, None]
        return score - log_sum(score, rows, samples)[rows.sample]

    def log_probability(self, model: RSMoE, batch: Batch, reading: Reading) -> tuple[Tensor, Tensor]:
        """(B, Lr) of each response token, and (B, Lr) the mean of ``reading.smooth`` weighted by g."""
        rows, samples = reading.rows, len(batch)
        gate = self.log_gate(reading.hidden, rows, samples)
        flat = sum_rows(reading.smooth * gate.exp(), rows, samples)
        return log_sum(reading.log_probability + gate, rows, samples), flat

    def next_token(self, logits: Tensor, hidden: Tensor, rows: Rows, samples: int, beams: int) -> Tensor:
        """The same in generation, see `rsmoe.generation.decoding.Fuse`."""
        gate = self.log_gate(hidden.unflatten(0, (-1, beams)), rows, samples)  # (R, k)
        return mixed_log_probability(logits, rows, samples, beams, weight=gate.exp())

    def losses(self, model: RSMoE, batch: Batch, reading: Reading, *, smoothing: float = 0.0) -> dict[str, Tensor]:
        """As `rsmoe.generation.mixture.Mixture.losses`, and "aspect", where a token of the batch has one."""
        losses = super().losses(model, batch, reading, smoothing=smoothing)
        if self.terms and bool((own := self.aspect_rows(model, batch, reading.rows)).any()):
            losses["aspect"] = -self.log_gate(reading.hidden, reading.rows, len(batch))[own].mean()
        return losses

    def aspect_rows(self, model: RSMoE, batch: Batch, rows: Rows) -> Tensor:
        """(R, Lr) bool: whether the token is of the aspect of the row's expert, among others that answer."""
        own = torch.zeros(len(rows.sample), batch.response_ids.shape[1], dtype=torch.bool)
        several = torch.bincount(rows.sample, minlength=len(batch))[rows.sample] > 1
        taught = (several & model.serves_task[batch.task[rows.sample], rows.expert]).tolist()
        told: dict[int, list[str | None]] = {}
        for row, (b, expert) in enumerate(zip(rows.sample.tolist(), rows.expert.tolist(), strict=True)):
            if taught[row] and expert in self.aspects:
                if b not in told:
                    told[b] = token_aspects(self.codec, batch.response_ids[b][batch.response_mask[b]].tolist())
                own[row, : len(told[b])] = torch.tensor([aspect == self.aspects[expert] for aspect in told[b]])
        return own.to(batch.frames.device)
