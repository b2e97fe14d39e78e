"""Fusion of logits: the experts of a sample have to agree on every next token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.generation.mixture import Mixture, sum_rows
from rsmoe.router.routing import Rows

if TYPE_CHECKING:
    from rsmoe.model import RSMoE
    from rsmoe.perception import Reading


class ProductOfExperts(Mixture):
    """p(y_t | y_<t) proportional to prod_e p_e(y_t | y_<t) ** w_e: the weighted mean of the experts' logits.

    A product of experts (Hinton, Neural Computation 14(8), 2002): an expert that finds a token impossible rules it out,
    where in `rsmoe.generation.mixture.Mixture` one expert that finds it likely is enough. log p = log_softmax(sum_e w_e
    log p_e), in which the normalisers of the experts cancel. Training projects the states of the answers onto the
    vocabulary once more than the mixture does.

    Args:
        codec, names, bank, length_penalty, length_weight: as in `rsmoe.generation.mixture.Mixture`.
    """

    def log_probability(self, model: RSMoE, batch: Batch, reading: Reading) -> tuple[Tensor, Tensor]:
        """(B, Lr) of each response token, and (B, Lr) the mean over the vocabulary; 0 in padding."""
        rows, mask = reading.rows, batch.response_mask
        own = mask[rows.sample]  # (R, Lr): no padding is projected
        logits = model.bank.logits(reading.hidden[own], rows.adapters.repeat_interleave(own.sum(1), 0)).float()
        weighted = logits * rows.weight[:, None].expand_as(own)[own][:, None]
        place = (mask.flatten().cumsum(0) - 1).view_as(mask)[rows.sample][own]  # of each row's token among the batch's
        total = weighted.new_zeros(int(mask.sum()), weighted.shape[-1]).index_add(0, place, weighted)  # (tokens, V)
        log_p = total.log_softmax(-1)
        told = log_p.gather(1, batch.response_ids[mask][:, None])[:, 0]
        empty = log_p.new_zeros(mask.shape)
        return torch.masked_scatter(empty, mask, told), torch.masked_scatter(empty, mask, log_p.mean(-1))

    def next_token(self, logits: Tensor, hidden: Tensor, rows: Rows, samples: int, beams: int) -> Tensor:
        """The same in generation, see `rsmoe.generation.decoding.Fuse`."""
        weighted = logits.float().unflatten(0, (-1, beams)) * rows.weight[:, None, None]  # (R, k, V)
        return sum_rows(weighted, rows, samples).log_softmax(-1)
