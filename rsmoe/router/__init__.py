"""Router contract: instruction + queries -> `Routing`, then one prompt per chosen (sample, expert) row.

A router, and a prompt writer, is an ``nn.Module`` in one file with one yaml in ``conf/router/``, ``conf/prompts/``. The
constructor of a router takes ``width`` (of the queries), ``vocab_size`` and ``experts`` (the number E); that of a
prompt writer ``width`` (of the language model), ``vocab_size`` and ``templates`` (token ids per expert).
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from rsmoe.router.prompts import PromptRequest, Prompts
from rsmoe.router.routing import Routing

__all__ = ["PromptWriter", "Router", "Routing"]


class Router(Protocol):
    """Gate over E experts; it never sees the task label, and runs in fp32."""

    def __call__(
        self,
        queries: Tensor,
        instruction_ids: Tensor,
        instruction_mask: Tensor,
        *,
        allowed: Tensor | None = None,
        also: Tensor | None = None,
    ) -> Routing:
        """Queries (B, M, D), instruction (B, L) and its mask. ``allowed`` (E,) bool: experts that may be chosen;
        ``also`` (B, E) bool: experts that are added to the choice, while training teaches routes."""


class PromptWriter(Protocol):
    """Sub-instructions, as soft tokens or as words."""

    reads_templates: bool
    """Whether the templates of the experts have an effect."""

    def __call__(self, request: PromptRequest) -> Prompts:
        """One prompt for each of R rows."""

    def upcycle(self, source: int) -> None:
        """Copies one expert's parameters to every expert."""
