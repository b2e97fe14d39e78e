"""What the model knows of a batch after each part of its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rsmoe.maps.change_map import ChangeEvidence
from rsmoe.maps.cover_map import CoverEvidence
from rsmoe.router.routing import Routing, Rows
from rsmoe.temporal.memory import VisualMemory


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is seen of the pictures of B requests, whatever they ask."""

    memory: VisualMemory
    """Of each request."""
    pyramid: tuple[Tensor, ...]
    """(B, D_l, h, w) of each request's last frame, finest first."""
    change: ChangeEvidence | None
    """Of the P views that are pairs; None in a model without a change map."""
    pairs: Tensor
    """(P,) long: those views."""
    cover: CoverEvidence | None
    """Of the S views that are single pictures; None in a model without a cover map."""
    singles: Tensor
    """(S,) long: those views."""
    classes: Tensor | None = None
    """(B, 1 + K, D): the mean of the memory, and what is known of each class, zero for a pair. None in a model without
    a cover map."""
    cells: Tensor | None = None
    """(B, n, D): what lies where, 9 cells, and behind them the tokens of a cover map; of a pair, with a change map of K
    kinds, what changed where, 9 + K. Zero where there is less to tell. None in a model that passes no cells on."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a language model is shown of B requests."""

    tokens: Tensor
    """(B, M, D_lm), in the language model's width; tokens that skip the Q-Former first."""
    classes: Tensor | None = None
    """(B, 1 + K, D): what words of an instruction may be about, the whole picture or a class of a cover map."""

    def __getitem__(self, index: Tensor | Sequence[int]) -> Shown:
        """Of these requests."""
        return Shown(tokens=self.tokens[index], classes=None if self.classes is None else self.classes[index])


@dataclass(frozen=True, kw_only=True)
class Perception:
    """What is known of B requests before any expert has read them."""

    shown: Shown
    routing: Routing
    sight: Sight


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One teacher-forced pass over the responses. R rows, Lr response tokens."""

    perception: Perception
    rows: Rows
    hidden: Tensor
    """(R, Lr, D) states that emit each response token."""
    log_probability: Tensor
    """(R, Lr) of each reference token under each row's own expert."""
    smooth: Tensor
    """(R, Lr) mean log-probability over the vocabulary, for label smoothing."""
    prompt_loss: Tensor | None
