"""RSICCformer's difference attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Depth, Fraction, Positive
from rsmoe.errors import UserError
from rsmoe.temporal import TemporalInput, VisualMemory
from rsmoe.temporal.date_pairs import perceive_pairs
from rsmoe.temporal.difference_attention import BitemporalFusion, DifferenceAttention


class CrossAttention(nn.Module):
    """Each date asks the difference of the two what changed (RSICCformer, Liu et al., TGRS 2022).

    For the layers l = 1 .. L, both dates through the same weights (`DifferenceAttention`), A_0 and B_0 the tokens::

        d_l = B_(l-1) - A_(l-1)
        A_l = layer_l(Q = A_(l-1), K = V = d_l)
        B_l = layer_l(Q = B_(l-1), K = V = d_l)

    Memory is the fusion of all layers (`BitemporalFusion`), 2 N tokens. Equal dates have d = 0 in every layer.
    https://github.com/Chen-Yang-Liu/RSICC (models_RSICCformerDfusion.py, difference as key and value);
    doi:10.1109/TGRS.2022.3218921. 17 L D^2 + 21 L D parameters, and (rows + columns) D / 2 of the positions. The
    released encoder maps its tokens to 512 channels first; 3 layers, 8 heads, dropout 0.5.

    Args:
        width: D.
        layers: L.
        heads: of the attention; they divide D.
        dropout: rate.
        grid: (rows, columns) of the tokens: adds the source's learned vector [column ; row], D / 2 each, to both
            dates. None where the encoder's tokens know their place, as those of every encoder here do.

    Raises:
        UserError: ``heads`` does not divide ``width``, or a ``grid`` that is no [rows, columns].
    """

    def __init__(
        self,
        *,
        width: Positive,
        layers: Depth = 3,
        heads: Depth = 8,
        dropout: Fraction = 0.5,
        grid: Sequence[Positive] | None = None,
    ) -> None:
        super().__init__()
        if grid is not None and (len(grid) != 2 or width % 2):
            raise UserError(
                f"temporal.grid={list(grid)} with tokens of width {width}: expected [rows, columns] and an even width"
            )
        self.layers = nn.ModuleList(
            DifferenceAttention(width=width, heads=heads, dropout=dropout) for _ in range(layers)
        )
        self.fusion = BitemporalFusion(width=width, levels=layers)
        self.rows = nn.Parameter(torch.randn(grid[0], width // 2)) if grid is not None else None
        self.columns = nn.Parameter(torch.randn(grid[1], width // 2)) if grid is not None else None

    def forward(self, dates: TemporalInput) -> VisualMemory:
        """Tokens (B, T, N, D) -> memory (B, 2 N, D) if T = 2, else (B, N, D).

        Raises:
            UserError: more than two dates, or N tokens that do not fill ``grid``.
        """
        return perceive_pairs(dates, self._perceive)

    def _perceive(self, before: Tensor, after: Tensor) -> Tensor:
        if self.rows is not None and self.columns is not None:
            places = self._places(self.rows, self.columns, before.shape[1])
            before, after = before + places, after + places
        levels = []
        for layer in self.layers:
            difference = after - before  # (R, N, D)
            before, after = layer(before, difference), layer(after, difference)
            levels.append((before, after))
        out: Tensor = self.fusion(levels)  # (R, 2N, D)
        return out

    def _places(self, rows: Tensor, columns: Tensor, count: int) -> Tensor:
        """(N, D), row by row."""
        height, width = len(rows), len(columns)
        if height * width != count:
            raise UserError(
                f"temporal.grid=[{height}, {width}] does not fit {count} tokens of a date. Set it to their rows and "
                f"columns, or to null where the encoder's tokens know their place"
            )
        return torch.cat([columns.expand(height, -1, -1), rows[:, None].expand(-1, width, -1)], dim=-1).flatten(0, 1)
