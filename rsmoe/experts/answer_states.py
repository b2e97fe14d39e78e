"""Teacher forcing: the states that emit given answers, and the probabilities of their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rsmoe.experts import Bank
from rsmoe.experts.lengths import by_length, widened
from rsmoe.router.routing import Routing


@dataclass(frozen=True, kw_only=True)
class AnswerStates:
    """Of R rows with Lr answer tokens; what lies outside of their mask has no meaning."""

    hidden: Tensor
    """(R, Lr, D) states that emit each token."""
    log_probability: Tensor
    """(R, Lr) of each token."""
    smooth: Tensor
    """(R, Lr) mean over the vocabulary."""
    gates: Mapping[str, Routing] = field(default_factory=dict)
    """Gate of a block -> how it routed the tokens of prefixes and answers; {} where rows have one expert each."""


def answer_states(
    bank: Bank, start: Tensor, start_mask: Tensor, ids: Tensor, mask: Tensor, expert: Tensor
) -> AnswerStates:
    """Prefixes and answers through the bank.

    Short rows and long ones run apart where that saves padding: a batch may hold "yes" and a description. It halves the
    time of the dense stage of ``experiment=rsicap_moe``.

    Args:
        start, start_mask: (R, S, D) embedded prefix of every row and (R, S) bool.
        ids, mask: (R, Lr) answers and (R, Lr) bool.
        expert: (R,) long, ascending, or (R, E) weights of a sum, see `Bank`.
    """
    parts = by_length(start_mask.sum(1), mask.sum(1))
    if len(parts) == 1:
        return _one_pass(bank, start, start_mask, ids, mask, expert)
    done, gates = [], dict[str, list[Routing]]()
    for part in parts:
        longest = int(mask[part].sum(1).max())
        read = start_mask[part].any(0)  # the others are padding in every row
        found = _one_pass(
            bank,
            start[part][:, read],
            start_mask[part][:, read],
            ids[part, :longest],
            mask[part, :longest],
            expert[part],
        )
        for name, routing in found.gates.items():
            gates.setdefault(name, []).append(routing)
        done.append([widened(x, ids.shape[1]) for x in (found.hidden, found.log_probability, found.smooth)])
    back = torch.cat(parts).argsort()
    hidden, log_p, smooth = (torch.cat(values)[back] for values in zip(*done, strict=True))
    joined = {name: Routing.joined(own) for name, own in gates.items()}
    return AnswerStates(hidden=hidden, log_probability=log_p, smooth=smooth, gates=joined)


def _one_pass(bank: Bank, start: Tensor, start_mask: Tensor, ids: Tensor, mask: Tensor, expert: Tensor) -> AnswerStates:
    embeds = torch.cat([start, bank.embed(ids[:, :-1], expert).to(start.dtype)], dim=1)
    seen = torch.cat([start_mask, mask[:, :-1]], dim=1)
    out = bank(embeds, seen, expert)
    hidden = out.hidden[:, start.shape[1] - 1 :]  # (R, Lr, D)
    log_p = bank.logits(hidden, expert).float().log_softmax(-1)
    return AnswerStates(
        hidden=hidden,
        log_probability=log_p.gather(-1, ids.unsqueeze(-1)).squeeze(-1),
        smooth=log_p.mean(-1),
        gates={name: choice.routing(seen) for name, choice in out.gates.items()},
    )
