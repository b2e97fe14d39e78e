"""A feature pyramid for encoders whose tokens all have one scale."""

from __future__ import annotations

from torch import Tensor, nn


class GridPyramid(nn.Module):
    """The simple feature pyramid of ViTDet (arXiv 2203.16527, section 3): the last grid at 4, 2, 1 times its size.

    Args:
        tokens: D of the grid.
        width: channels of every level; None gives one level, the grid itself, and no parameters.
    """

    def __init__(self, *, tokens: int, width: int | None) -> None:
        super().__init__()
        self.widths: tuple[int, ...] = (tokens,) if width is None else (width,) * 3
        half, quarter = tokens // 2, tokens // 4
        self.levels = nn.ModuleList()
        if width is not None:
            up4 = [nn.ConvTranspose2d(tokens, half, 2, 2), nn.GELU(), nn.ConvTranspose2d(half, quarter, 2, 2)]
            up2 = [nn.ConvTranspose2d(tokens, half, 2, 2)]
            for layers, channels in ((up4, quarter), (up2, half), ([], tokens)):
                # GroupNorm with one group: a LayerNorm over channels and places
                self.levels.append(nn.Sequential(*layers, nn.Conv2d(channels, width, 1), nn.GroupNorm(1, width)))

    def forward(self, tokens: Tensor, *, height: int, width: int) -> tuple[Tensor, ...]:
        """(N, height * width, D) patch tokens, row by row -> levels (N, D_l, h, w), finest first."""
        grid = tokens.transpose(1, 2).unflatten(2, (height, width))  # (N, D, h, w)
        return tuple(level(grid) for level in self.levels) or (grid,)
