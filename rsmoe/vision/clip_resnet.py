"""CLIP's ResNet out of a folder, as an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.errors import UserError, require_known
from rsmoe.vision.features import VisionFeatures
from rsmoe.vision.inputs import inflate_bands
from rsmoe.vision.modified_resnet import ModifiedResNet
from rsmoe.vision.pretrained_tower import require_same
from rsmoe.weights.bases import remember
from rsmoe.weights.clip_resnet import ClipResNetConfig, ClipResNetModel
from rsmoe.weights.pretrained import load_config, load_pretrained, on_meta_device, with_weights


class ClipResNet(nn.Module):
    """The image tower of a CLIP with a ResNet: OpenAI's RN50, RemoteCLIP's, and what fine-tuning made of them.

    Args:
        pretrained: a folder that `rsmoe.commands.convert_clip` wrote; None builds ``config`` with random weights.
        config: arguments of `rsmoe.vision.modified_resnet.ModifiedResNet`. Beside ``pretrained`` it must agree with
            the folder; under ``torch.device("meta")`` it alone is used.
        bands: C; other than 3 the stem is inflated, see `rsmoe.vision.inputs.inflate_bands`.
        keep_prefix: whether the mean of the tokens, which asks the others in CLIP's pooling, stays in front of them.

    Raises:
        UserError: neither source is given, the folder cannot be read, holds another kind of tower, or differs from
            ``config``.
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        config: Mapping[str, Any] | None = None,
        bands: Positive = 3,
        keep_prefix: bool = True,
    ) -> None:
        super().__init__()
        if pretrained is not None and not (config and on_meta_device()):
            own: Any = load_config(pretrained)
            known = {ClipResNetConfig.model_type: "vision=clip_rn50"}
            require_known("kind of ResNet tower", own.model_type, known=known)
            require_same(pretrained, own.vision_config, config or {})
            with with_weights():
                self.tower: ModifiedResNet = load_pretrained(ClipResNetModel, pretrained).vision_model
                remember(self.tower, pretrained)
                inflate_bands(self.tower, bands)
        elif config:
            self.tower = ModifiedResNet(**config)
            inflate_bands(self.tower, bands)
        else:
            raise UserError("vision.pretrained is null and vision.config is empty: give a folder, or a config")
        self.bands, self.keep_prefix = bands, keep_prefix
        self.width, self.pyramid_widths = self.tower.width, self.tower.widths

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """(N, C, H, W) -> tokens (N, 1 + P, D), or (N, P, D) without the mean; pyramid of strides 4 to 32.

        Raises:
            UserError: another number of bands, or pictures of another size than the tower was trained with.
        """
        seen: VisionFeatures = self.tower(pixels)
        if self.keep_prefix:
            return seen
        return VisionFeatures(tokens=seen.tokens[:, 1:], pyramid=seen.pyramid)
