"""Teacher forcing: the states that emit given answers, and the probabilities of their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rsmoe.experts import Bank


@dataclass(frozen=True, kw_only=True)
class AnswerStates:
    """Of R rows with Lr answer tokens; what lies outside of their mask has no meaning."""

    hidden: Tensor
    """(R, Lr, D) states that emit each token."""
    log_probability: Tensor
    """(R, Lr) of each token."""
    smooth: Tensor
    """(R, Lr) mean over the vocabulary."""


def answer_states(
    bank: Bank, start: Tensor, start_mask: Tensor, ids: Tensor, mask: Tensor, expert: Tensor
) -> AnswerStates:
    """One pass over prefixes and answers.

    Args:
        start, start_mask: (R, S, D) embedded prefix of every row and (R, S) bool.
        ids, mask: (R, Lr) answers and (R, Lr) bool.
        expert: (R,) long, ascending.
    """
    embeds = torch.cat([start, bank.embed(ids[:, :-1], expert).to(start.dtype)], dim=1)
    seen = torch.cat([start_mask, mask[:, :-1]], dim=1)
    hidden = bank(embeds, seen, expert).hidden[:, start.shape[1] - 1 :]  # (R, Lr, D)
    log_p = bank.logits(hidden, expert).float().log_softmax(-1)
    return AnswerStates(
        hidden=hidden, log_probability=log_p.gather(-1, ids.unsqueeze(-1)).squeeze(-1), smooth=log_p.mean(-1)
    )
