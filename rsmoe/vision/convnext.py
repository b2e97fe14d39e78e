"""ConvNeXt V2 from scratch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from transformers import ConvNextV2Config, ConvNextV2Model

from rsmoe.checks.ranges import Depth, Fraction, Positive
from rsmoe.errors import UserError
from rsmoe.vision.features import VisionFeatures
from rsmoe.vision.inputs import check_pixels
from rsmoe.vision.positions import sine_positions


class ConvNeXt(nn.Module):
    """ConvNeXt V2 (arXiv 2301.00808) with random weights; its stages are the pyramid, the last one gives the tokens.

    Tokens are LN(last stage) plus sines of their place. Strides: ``patch``, then double at each further stage.

    Args:
        bands: C.
        widths: channels of each stage; the last is D and must be a multiple of 4.
        depths: blocks of each stage.
        patch: side of the stem's patches, px.
        drop_path: stochastic depth of the last block; it grows linearly from 0 at the first.
    """

    def __init__(
        self,
        *,
        bands: Positive = 3,
        widths: Sequence[Positive] = (64, 128, 256),
        depths: Sequence[Depth] = (2, 2, 2),
        patch: Positive = 4,
        drop_path: Fraction = 0.0,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths) or not widths or widths[-1] % 4:
            raise UserError(
                f"vision.widths={list(widths)}, vision.depths={list(depths)}: expected one depth for each width, and "
                f"a last width that is a multiple of 4"
            )
        self.bands, self.width, self.pyramid_widths = bands, widths[-1], tuple(widths)
        self.stride = patch * 2 ** (len(widths) - 1)
        self.net = ConvNextV2Model(
            ConvNextV2Config(
                num_channels=bands,
                patch_size=patch,
                num_stages=len(widths),
                hidden_sizes=list(widths),
                depths=list(depths),
                drop_path_rate=drop_path,
            )
        )

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """(N, C, H, W) -> tokens (N, P, D) of the last stage, row by row, and all stages (N, D_l, h, w).

        Raises:
            UserError: another number of bands, or a size that the strides do not divide.
        """
        check_pixels(pixels, bands=self.bands, multiple=self.stride)
        stages = self.net(pixels, output_hidden_states=True).hidden_states[1:]
        height, width = stages[-1].shape[-2:]
        tokens = self.net.layernorm(stages[-1].flatten(2).transpose(1, 2))  # (N, h*w, D)
        places = sine_positions(height, width, self.width, device=pixels.device)
        return VisionFeatures(tokens=tokens + places.to(tokens.dtype), pyramid=tuple(stages))
