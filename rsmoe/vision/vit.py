"""Vision transformers from scratch."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from rsmoe.checks.ranges import Depth, Fraction, Positive
from rsmoe.errors import UserError
from rsmoe.vision.features import VisionFeatures
from rsmoe.vision.inputs import check_pixels
from rsmoe.vision.pyramid import GridPyramid


class ViT(nn.Module):
    """ViT (arXiv 2010.11929) with random weights; the class token stays the first of the tokens.

    Args:
        bands: C.
        width: D.
        depth: blocks.
        heads: attention heads.
        hidden: width of the MLPs; None: 4 D.
        patch: side of a patch, px.
        image_size: side that the position embeddings are made for, px; for other sizes they are interpolated.
        dropout: on hidden states and attention.
        pyramid_width: see `GridPyramid`.

    Raises:
        UserError: ``width`` is no multiple of ``heads``, or a patch is larger than the image.
    """

    def __init__(
        self,
        *,
        bands: Positive = 3,
        width: Positive = 192,
        depth: Depth = 6,
        heads: Depth = 3,
        hidden: Positive | None = None,
        patch: Positive = 16,
        image_size: Positive = 96,
        dropout: Fraction = 0.0,
        pyramid_width: Positive | None = None,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"vision.width={width} is not a multiple of vision.heads={heads}")
        if patch > image_size:
            raise UserError(f"vision.patch={patch} is larger than vision.image_size={image_size}")
        self.bands, self.width, self.patch = bands, width, patch
        self.net = ViTModel(
            ViTConfig(
                num_channels=bands,
                hidden_size=width,
                num_hidden_layers=depth,
                num_attention_heads=heads,
                intermediate_size=hidden or 4 * width,
                patch_size=patch,
                image_size=image_size,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            ),
            add_pooling_layer=False,
        )
        self.pyramid = GridPyramid(tokens=width, width=pyramid_width)
        self.pyramid_widths = self.pyramid.widths

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """(N, C, H, W) -> tokens (N, 1 + P, D): class token, then patches row by row; pyramid of the patches.

        Raises:
            UserError: another number of bands, or a size that patches do not divide.
        """
        check_pixels(pixels, bands=self.bands, multiple=self.patch)
        tokens = self.net(pixels, interpolate_pos_encoding=True).last_hidden_state
        height, width = (side // self.patch for side in pixels.shape[-2:])
        return VisionFeatures(tokens=tokens, pyramid=self.pyramid(tokens[:, 1:], height=height, width=width))
