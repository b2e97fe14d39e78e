"""Residual networks from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from rsmoe.checks.ranges import Depth, Fraction, Positive
from rsmoe.errors import UserError
from rsmoe.vision.features import VisionFeatures
from rsmoe.vision.inputs import check_pixels
from rsmoe.vision.positions import sine_positions


class ResNet(nn.Module):
    """ResNet (arXiv 1512.03385) with random weights; its stages are the pyramid, the last ones give the tokens.

    Tokens are LN(last stage) plus sines of their place; with ``token_stages`` > 1 those of the stages before come
    first, each LN(linear map to D of its stage) plus sines plus a learned vector of the stage: what is smaller than a
    cell of the last stage, a car or a new house, is seen there. Strides: stem 4, then 4, 8, 16, ... by stage.
    With ``stem_level`` the stem before its pooling, stride 2, is the finest level of the pyramid.

    Args:
        bands: C.
        stem: channels of the 7x7 stem.
        widths: channels of each stage; the last is D and must be a multiple of 4.
        depths: blocks of each stage.
        block: "basic" (3x3, 3x3) or "bottleneck" (1x1, 3x3, 1x1).
        token_stages: how many of the last stages give tokens.
        stem_level: whether the pyramid begins at stride 2.
        dropout: on the tokens.
    """

    def __init__(
        self,
        *,
        bands: Positive = 3,
        stem: Positive = 64,
        widths: Sequence[Positive] = (64, 128, 256),
        depths: Sequence[Depth] = (2, 2, 2),
        block: Literal["basic", "bottleneck"] = "basic",
        token_stages: Depth = 1,
        stem_level: bool = False,
        dropout: Fraction = 0.0,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths) or not widths or widths[-1] % 4:
            raise UserError(
                f"vision.widths={list(widths)}, vision.depths={list(depths)}: expected one depth for each width, and "
                f"a last width that is a multiple of 4"
            )
        if token_stages > len(widths):
            raise UserError(f"vision.token_stages={token_stages}: expected 1 to {len(widths)}, the number of stages")
        self.bands, self.width, self.stem_level = bands, widths[-1], stem_level
        self.pyramid_widths = (stem, *widths) if stem_level else tuple(widths)
        self.net = ResNetModel(
            ResNetConfig(
                num_channels=bands,
                embedding_size=stem,
                hidden_sizes=list(widths),
                depths=list(depths),
                layer_type=block,
            )
        )
        self.norm = nn.LayerNorm(self.width)
        finer = widths[len(widths) - token_stages : -1]
        self.finer = nn.ModuleList(nn.Sequential(nn.Linear(w, self.width), nn.LayerNorm(self.width)) for w in finer)
        self.stage = nn.Parameter(torch.zeros(len(finer), self.width)) if finer else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """(N, C, H, W) -> tokens (N, P, D), row by row, finer stages first, and all stages (N, D_l, h, w).

        Raises:
            UserError: another number of bands.
        """
        check_pixels(pixels, bands=self.bands, multiple=1)
        stem = self.net.embedder.embedder(pixels)  # (N, stem, H/2, W/2)
        stages = self.net.encoder(self.net.embedder.pooler(stem), output_hidden_states=True).hidden_states[1:]
        given = stages[len(stages) - 1 - len(self.finer) :]
        tokens = []
        for level, embed in zip(given, [*self.finer, self.norm], strict=True):
            own = embed(level.flatten(2).transpose(1, 2))  # (N, h*w, D)
            height, width = level.shape[-2:]
            tokens.append(own + sine_positions(height, width, self.width, device=pixels.device).to(own.dtype))
        if self.stage is not None:
            tokens[:-1] = [own + stage for own, stage in zip(tokens[:-1], self.stage, strict=True)]
        pyramid = (stem, *stages) if self.stem_level else tuple(stages)
        return VisionFeatures(tokens=self.dropout(torch.cat(tokens, dim=1)), pyramid=pyramid)
