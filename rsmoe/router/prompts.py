"""Input and output of a prompt writer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PromptRequest:
    """The R chosen (sample, expert) rows of a batch."""

    queries: Tensor
    """(R, M, D_lm) visual queries, already projected to the language model's width."""
    queries_mask: Tensor
    """(R, M) bool, True where a query is valid."""
    prompt_ids: Tensor
    """(R, Lp) the user's instruction in the language model's vocabulary, left-padded."""
    prompt_mask: Tensor
    """(R, Lp) bool."""
    expert: Tensor
    """(R,) long."""
    share: Tensor | None = None
    """(R, E) float, weights of the experts of a row that several share: soft tokens are their weighted sum, written
    prompts are those of ``expert``, the one of highest weight. None: each row is of one expert."""


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """One prompt per row: soft tokens, or token ids, which the bank embeds."""

    mask: Tensor
    """(R, P) bool, False first (left-padded)."""
    embeds: Tensor | None = None
    """(R, P, D_lm)."""
    ids: Tensor | None = None
    """(R, P) long."""
    loss: Tensor | None = None
    """Scalar: the writer's own training loss, where it has one."""
