"""The ResNet of CLIP."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.errors import UserError
from rsmoe.vision.features import VisionFeatures
from rsmoe.vision.inputs import check_pixels

STRIDE = 32
"""Of the last stage."""


class ModifiedResNet(nn.Module):
    """CLIP's image tower of convolutions up to its attention pooling (arXiv 2103.00020, section 2.4).

    Three convolutions make the stem, and where a stage halves the grid an average pooling does it before the
    convolution (ResNet-D, antialiased). What the pooling attends to are the tokens here: their mean first, then the
    last stage row by row, each with a learned position. Parameters have OpenAI's names.

    Batch norms keep the statistics that they were trained with, in training too: a batch of fine-tuning is small, and
    gradient caching looks at parts of it.

    Args:
        width: channels of the stem; the last stage has 32 times as many.
        layers: blocks of the four stages.
        image_size: side of the pictures, a multiple of 32: positions are learned for that grid.
    """

    def __init__(self, *, width: int, layers: Sequence[int], image_size: int) -> None:
        super().__init__()
        self.image_size, self.width = image_size, STRIDE * width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        channels, stages = width, []
        for stage, depth in enumerate(layers):
            inner = width * 2**stage
            first = _Bottleneck(channels, inner, stride=1 if stage == 0 else 2)
            channels = _EXPANSION * inner
            stages.append(nn.Sequential(first, *(_Bottleneck(channels, inner) for _ in range(1, depth))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        places = 1 + (image_size // STRIDE) ** 2
        self.positional_embedding = nn.Parameter(torch.randn(places, self.width) / self.width**0.5)
        self.widths = tuple(_EXPANSION * width * 2**stage for stage in range(len(layers)))

    def train(self, mode: bool = True) -> ModifiedResNet:
        """Batch norms stay in eval mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """(N, C, H, W) -> tokens (N, 1 + P, D), the mean first; pyramid of the four stages, strides 4 to 32.

        Raises:
            UserError: another number of bands, or pictures of another size.
        """
        check_pixels(pixels, bands=self.conv1.in_channels, multiple=STRIDE)
        height, width = pixels.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise UserError(
                f"images are {height} x {width} px, and this ResNet has learned the places of {self.image_size} px: "
                f"set image_size={self.image_size}, or make a folder of another size, rsmoe.commands.convert_clip "
                f"file=... image_size={height}"
            )
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        pyramid = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            pyramid.append(x := stage(x))
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + self.positional_embedding
        return VisionFeatures(tokens=tokens, pyramid=tuple(pyramid))


_EXPANSION = 4


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, inner: int, *, stride: int = 1) -> None:
        super().__init__()
        outer = _EXPANSION * inner
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(inner, outer, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != outer:
            layers = {
                "-1": nn.AvgPool2d(stride),
                "0": nn.Conv2d(channels, outer, 1, bias=False),
                "1": nn.BatchNorm2d(outer),
            }
            self.downsample = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.pool(y)))
        return F.relu(y + self.downsample(x))
