"""Experts contract: rows -> hidden states and next-token logits, in one pass; heads on special tokens.

**Bank**: a causal LM with one LoRA adapter per expert (`bank.ExpertBank`), or one LM per expert
(`separate.SeparateBank`). R rows, sorted by expert; E experts; D width; V vocabulary.

**Expert** (`expert.Expert`): name, tasks, template, and, where it has one, a special token with a head on the hidden
states that emit it: n of them, several in one response perhaps (`mask.MaskExpert`,
`masks.MasksExpert`: each [SEG] -> a mask, `retrieval.RetrievalExpert`: [RET] -> embedding). An expert is one yaml in
``conf/expert/`` and, when it has a head, one file here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from rsmoe.experts.output import BankOutput
from rsmoe.router.routing import Routing

__all__ = ["Bank", "BankOutput"]


@runtime_checkable
class Bank(Protocol):
    """Mixture of language models over one vocabulary and one width."""

    width: int
    """D."""
    vocab_size: int
    """V."""
    size: int
    """E."""
    sums_adapters: bool
    """Whether ``expert`` may also be (R, E) float: weights with which each row sums the updates of all adapters. The
    rows then lie in the order of the expert that weighs most."""
    terms: Mapping[str, float]
    """Losses of its own, and their weights."""

    @property
    def base(self) -> Any:
        """The language model, of expert 0 where each has its own."""

    def __call__(self, embeds: Tensor, mask: Tensor, expert: Tensor, cache: Any = None) -> BankOutput:
        """(R, L, D), (R, S) bool, (R,) ascending -> hidden states (R, L, D). S counts the cached positions too;
        positions follow from the mask, so left padding is free; ``cache="new"`` starts a cache."""

    def embed(self, ids: Tensor, expert: Tensor) -> Tensor:
        """(R, L) -> (R, L, D)."""

    def logits(self, hidden: Tensor, expert: Tensor) -> Tensor:
        """(R, ..., D) -> (R, ..., V): apart from the pass, so that only answer positions are projected."""

    def select(self, cache: Any, expert: Tensor, index: Tensor) -> Any:
        """The rows ``index`` of a cache, in that order."""

    def losses(self, gates: Mapping[str, Routing]) -> dict[str, Tensor]:
        """Those of ``terms``, of the gates of `BankOutput`, over the tokens that count; {} without gates."""

    def upcycle(self, source: int) -> None:
        """Copies one expert's adapter into every other."""

    def rest(self) -> bool:
        """Leaves adapters out of the pass while they can change nothing."""

    def save_adapter(self, index: int, folder: str | Path, *, base: str | Path | None = None) -> None:
        """Writes one adapter in PEFT's format."""

    def save_adapters(self, names: Sequence[str], folder: Path) -> None:
        """Writes all, each into a folder of its name, and what base they need beside them."""

    def load_adapter(self, index: int, folder: str | Path) -> None:
        """Reads one."""
