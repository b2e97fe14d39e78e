"""What a prompt writer is asked for and what it gives back."""

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
    """(R, E) float, weights of a row that several experts share: soft tokens are summed with them, written words are
    those of ``expert``, which weighs most. None: every row is one expert's."""


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """One prompt per row: soft tokens, or the ids of written ones (which the bank then embeds)."""

    mask: Tensor
    """(R, P) bool, False first (left-padded)."""
    embeds: Tensor | None = None
    """(R, P, D_lm)."""
    ids: Tensor | None = None
    """(R, P) long."""
    loss: Tensor | None = None
    """Scalar: the writer's own training loss, where it has one."""
