"""MModalCC: images and semantic maps of two dates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Depth, Fraction, Positive
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.temporal import TemporalInput, VisualMemory
from rsmoe.temporal.date_pairs import perceive_pairs
from rsmoe.temporal.difference_attention import BitemporalFusion, DifferenceAttention
from rsmoe.temporal.semantic_tokens import SemanticTokens


class Semantic(nn.Module):
    """Image and semantic map ask each other, then each its own difference (MModalCC, Karaca et al., arXiv 2501.10075).

    I_t and S_t are the tokens of the picture and of the semantic map (`SemanticTokens`) of date t in {A, B}. In a
    layer, with one `DifferenceAttention` f(Q, K = V) for all eight calls::

        CMCA  I_t <- f(I_t, S_t),   S_t <- f(S_t, I_t)              both of what came in
        UDCA  I_t <- f(I_t, I_B - I_A),   S_t <- f(S_t, S_B - S_A)

    Each layer reads what the one before wrote; in the released code every layer reads the first one's input. One
    `BitemporalFusion` for both kinds joins the layers into M_I and M_S, which MGCA gates::

        y   = LN_1(M_I + MHA_1(M_I))
        c_I = MHA_2(y, M_I),   c_S = MHA_2(y, M_S)
        v   = LN_2(g_1 * c_I + g_2 * c_S + g_3 * y),   g_1 = sigmoid(W_1 [y ; c_I] + b_1),
                                                       g_2 = sigmoid(W_2 [y ; c_S] + b_2),   g_3 = sigmoid(W_3 y + b_3)
        memory = LN_3(v + FF(v))

    In the source y are the words of its decoder; here the memory's own tokens, since a Q-Former and a language model
    follow. As in `DifferenceAttention`, no attention has biases. Pairs without a map have S = 0 throughout: CMCA and
    c_S add exactly nothing, and the rest is difference attention with a gate.

    17 L D^2 + 21 L D parameters of L layers and the fusion, 21 D^2 + 14 D of the gate, (3 + n) D of maps of n classes.

    The map is an input, at test time too, as in the source. Whoever scores masks or kinds of change of the same map,
    scores what was given; captions with and without maps are two protocols.

    Args:
        width: D, a multiple of 4.
        classes: of one date's semantic map; 6 in SECOND-CC.
        cells: side of the grid of semantic tokens; the source has 14.
        layers: CMCA and UDCA.
        heads: of every attention; they divide D.
        dropout: rate.

    Raises:
        UserError: ``heads`` does not divide ``width``, see also `SemanticTokens`.
    """

    def __init__(
        self,
        *,
        width: Positive,
        classes: Depth = 6,
        cells: Positive = 14,
        layers: Depth = 2,
        heads: Depth = 8,
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__()
        self.maps = SemanticTokens(width=width, classes=classes, cells=cells)
        self.layers = nn.ModuleList(
            DifferenceAttention(width=width, heads=heads, dropout=dropout) for _ in range(layers)
        )
        self.fusion = BitemporalFusion(width=width, levels=layers)
        self.gate = _Gate(width, heads, dropout)

    def forward(self, dates: TemporalInput) -> VisualMemory:
        """Tokens (B, T, N, D) -> memory (B, 2 N, D) if T = 2, else (B, N, D).

        The class map of a pair holds transitions, see `SemanticTokens`; without one there are no maps.

        Raises:
            UserError: more than two dates, a transition that the classes do not have.
        """
        changes = dates.class_map
        if changes is None:
            changes = torch.full((len(dates.tokens), 1, 1), UNKNOWN, dtype=torch.uint8, device=dates.tokens.device)
        return perceive_pairs(dates, partial(self._perceive, changes[dates.frames == 2]))

    def _perceive(self, changes: Tensor, before: Tensor, after: Tensor) -> Tensor:
        seen = (changes != UNKNOWN).flatten(1).any(1).to(before.dtype)[:, None, None]  # (R, 1, 1)
        images, maps = (before, after), self.maps(changes).to(before.dtype).unbind(1)
        levels = []
        for layer in self.layers:
            crossed = [layer(i, s) for i, s in zip(images, maps, strict=True)]
            answered = [seen * layer(s, i) for i, s in zip(images, maps, strict=True)]
            images, maps = _ask_difference(layer, *crossed), _ask_difference(layer, *answered)
            maps = (seen * maps[0], seen * maps[1])  # a LN makes something of nothing
            levels.append((images, maps))
        told = self.fusion([images for images, _ in levels])
        meant = seen * self.fusion([maps for _, maps in levels])
        out: Tensor = self.gate(told, meant)  # (R, 2N, D)
        return out


def _ask_difference(layer: Callable[[Tensor, Tensor], Tensor], before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    difference = after - before
    return layer(before, difference), layer(after, difference)


class _Gate(nn.Module):
    """MGCA."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(width, heads, dropout=dropout, bias=False, batch_first=True)
        self.cross = nn.MultiheadAttention(width, heads, dropout=dropout, bias=False, batch_first=True)
        self.gate_image, self.gate_map = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
        self.gate_own = nn.Linear(width, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, told: Tensor, meant: Tensor) -> Tensor:
        """M_I (R, n, D), M_S (R, m, D) -> (R, n, D)."""
        y = self.norm1(told + self.dropout(self.own(told, told, told, need_weights=False)[0]))
        image, semantic = (self.dropout(self.cross(y, m, m, need_weights=False)[0]) for m in (told, meant))
        v = self.gate_image(torch.cat([y, image], dim=-1)).sigmoid() * image
        v = v + self.gate_map(torch.cat([y, semantic], dim=-1)).sigmoid() * semantic
        v = self.norm2(v + self.gate_own(y).sigmoid() * y)
        inner: Tensor = self.linear2(self.dropout(F.relu(self.linear1(v))))
        out: Tensor = self.norm3(v + self.dropout(inner))
        return out
