"""What the model knows of a batch after each part of its way."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rsmoe.router.routing import Routing, Rows
from rsmoe.temporal.change_map import ChangeEvidence
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
    cells: Tensor | None = None
    """(B, 9, D): what lies where. With a change map of K kinds (B, 9 + K, D), of a pair what changed where. None in a
    model that passes no cells on."""


@dataclass(frozen=True, kw_only=True)
class Perception:
    """What is known of B requests before any expert has read them."""

    queries: Tensor
    """(B, M, D_lm), in the language model's width; tokens that skip the Q-Former first."""
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
