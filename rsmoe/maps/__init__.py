"""Maps contract: a decoder over the feature pyramids of one or two dates gives the class of every pixel, and visual
tokens that describe what is where.

A map is an ``nn.Module`` in one file with one yaml in ``conf/maps/``, chosen as ``maps=[land_cover,change]``; its
constructor takes ``pyramid_widths``, ``width`` (D of the visual tokens) and ``bands``. R views, K classes.

- `land_cover.LandCover`: semantic segmentation of one date;
- `change.Change`: semantic change detection between two dates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import Parameter


@dataclass(frozen=True, kw_only=True)
class MapEvidence:
    """The dense prediction for R views, at the size of the finest level."""

    logits: Tensor
    """(R, K, h, w) of the classes."""
    features: Tensor
    """(R, C, h, w), of which the logits are a linear map."""


@dataclass(frozen=True, kw_only=True)
class MapTokens:
    """Visual tokens that describe a map."""

    tokens: Tensor
    """(R, n, D), read behind the visual memory."""
    mask: Tensor
    """(R, n) bool, True where a token is valid."""
    classes: Tensor | None = None
    """(R, K, D) of every class, for `noun_grounding.NounGrounding`; None where a map has no such tokens."""


class MapModule(Protocol):
    """Classes of the pixels of views that have ``dates`` dates."""

    dates: int
    """1: what covers the ground in a picture; 2: what changed between two."""
    names: tuple[str, ...]
    """Of the K classes."""
    terms: Mapping[str, float]
    """Losses and their weights in stages that train the map, which ``stage.<name>.losses`` may change."""

    def __call__(self, pyramids: Sequence[Sequence[Tensor]]) -> MapEvidence:
        """Levels (R, D_l, h_l, w_l), finest first, of each date; R may be 0."""

    def parameters(self) -> Iterator[Parameter]:
        """Of ``nn.Module``."""

    def tokens(self, evidence: MapEvidence, *, pixels: Tensor, truth: Tensor | None = None) -> MapTokens:
        """Tokens from pixels (R, T, C, H, W); ``truth`` (R, H, W) uint8 stands for the predicted map of the views that
        it knows all over (teacher forcing)."""

    def losses(self, evidence: MapEvidence, target: Tensor) -> dict[str, Tensor]:
        """Named losses against (R, H, W) uint8 classes, 255 unknown."""

    def classify(self, shares: Tensor) -> Tensor:
        """(K, H, W) probabilities of one view -> (H, W) uint8 classes."""
