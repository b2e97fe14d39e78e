"""What the model knows of a batch after each part of its way: V views, B requests on them, R rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from rsmoe.maps import MapEvidence
from rsmoe.router.routing import Routing, Rows
from rsmoe.temporal.memory import VisualMemory


@dataclass(frozen=True, kw_only=True)
class SeenMap:
    """The dense prediction of one map module."""

    views: Tensor
    """(r,) long: the views that have as many dates as the map reads."""
    evidence: MapEvidence
    """Of these r views."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is seen of V views, whatever they are asked."""

    memory: VisualMemory
    """Of each view, without the tokens of the maps."""
    pyramid: tuple[Tensor, ...]
    """(V, D_l, h, w) of each view's last frame, finest first."""
    maps: Mapping[str, SeenMap]
    """Name of a map module -> its prediction."""


@dataclass(frozen=True, kw_only=True)
class VisualPrefix:
    """Visual tokens in the width of a language model, of B requests."""

    tokens: Tensor
    """(B, M, D_lm); those of the bypass first."""
    mask: Tensor
    """(B, M) bool, True where a token is valid."""
    classes: Tensor | None = None
    """(B, 1 + K, D): the mean of the memory, and the token of each class of the map that nouns are grounded in, zero
    for views without it. None without noun grounding."""

    def __getitem__(self, index: Tensor | Sequence[int]) -> VisualPrefix:
        """Of these requests."""
        classes = None if self.classes is None else self.classes[index]
        return VisualPrefix(tokens=self.tokens[index], mask=self.mask[index], classes=classes)


@dataclass(frozen=True, kw_only=True)
class Perception:
    """What is known of B requests before any expert has read them."""

    prefix: VisualPrefix
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
    gates: Mapping[str, Routing]
    """Gate of a block of the language model -> how it routed the tokens; {} where it has none."""
    prompt_loss: Tensor | None
