"""Intermediate results of the forward pass: V views, B requests on them, R rows of the language model."""

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
    """(r,) long: the views that have as many dates as the map module reads."""
    evidence: MapEvidence
    """Of these r views."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Visual features of V views, before any instruction is read."""

    memory: VisualMemory
    """Of each view, without the tokens of the maps."""
    pyramid: tuple[Tensor, ...]
    """(V, D_l, h, w) of each view's last frame, finest first."""
    maps: Mapping[str, SeenMap]
    """Name of a map module -> its prediction."""


@dataclass(frozen=True, kw_only=True)
class VisualPrefix:
    """Visual tokens of B requests, projected to the width of the language model."""

    tokens: Tensor
    """(B, M, D_lm); those of the bypass first, that of a region last."""
    mask: Tensor
    """(B, M) bool, True where a token is valid."""
    classes: Tensor | None = None
    """For noun grounding, (B, 1 + K, D): the mean of the visual memory, then the token of each land cover class, zero
    for views without a map. None without noun grounding."""

    def __getitem__(self, index: Tensor | Sequence[int]) -> VisualPrefix:
        """Those of some requests."""
        classes = None if self.classes is None else self.classes[index]
        return VisualPrefix(tokens=self.tokens[index], mask=self.mask[index], classes=classes)


@dataclass(frozen=True, kw_only=True)
class Perception:
    """Visual prefix and routing of B requests, before any expert reads them."""

    prefix: VisualPrefix
    routing: Routing
    sight: Sight


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One teacher-forced pass over the responses. R rows, Lr response tokens."""

    perception: Perception
    rows: Rows
    hidden: Tensor
    """(R, Lr, D) hidden states that predict each response token."""
    log_probability: Tensor
    """(R, Lr) of each response token under the row's own expert."""
    smooth: Tensor
    """(R, Lr) mean log-probability over the vocabulary, for label smoothing."""
    gates: Mapping[str, Routing]
    """With ``bank=token``, name of a gate in a block of the language model -> its routing of the tokens; else {}."""
    prompt_loss: Tensor | None
