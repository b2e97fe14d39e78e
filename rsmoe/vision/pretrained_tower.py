"""CLIP, SigLIP, DINOv2, DINOv3 and EVA (InstructBLIP, BLIP-2) towers, by name or local folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig

from rsmoe.checks.ranges import Positive
from rsmoe.errors import UserError, require_known
from rsmoe.vision.features import VisionFeatures
from rsmoe.vision.inputs import check_pixels, inflate_bands
from rsmoe.vision.pyramid import GridPyramid
from rsmoe.vision.tower_adapters import TowerBottleneck, TowerLora, adapt
from rsmoe.weights.bases import remember
from rsmoe.weights.pretrained import load_config, load_pretrained, on_meta_device, parent_of, with_weights


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Where transformers keeps the parts of a tower."""

    model: str
    """Class."""
    blocks: str
    """Path of the list of blocks."""
    norm: str
    """Path of the last norm."""
    normed: bool = True
    """Whether the tokens go through that norm; CLIP has it for the class token's projection only."""
    resizes: bool = True
    """Takes ``interpolate_pos_encoding``; the others take any size without."""


_CLIP = _Family(model="CLIPVisionModel", blocks="encoder.layers", norm="post_layernorm", normed=False)
_SIGLIP = _Family(model="SiglipVisionModel", blocks="encoder.layers", norm="post_layernorm")
_EVA = _Family(model="InstructBlipVisionModel", blocks="encoder.layers", norm="post_layernorm")
_BLIP2 = _Family(model="Blip2VisionModel", blocks="encoder.layers", norm="post_layernorm")
FAMILIES: dict[str, _Family] = {
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "dinov2": _Family(model="Dinov2Model", blocks="encoder.layer", norm="layernorm", resizes=False),
    "dinov2_with_registers": _Family(
        model="Dinov2WithRegistersModel", blocks="encoder.layer", norm="layernorm", resizes=False
    ),
    "dinov3_vit": _Family(model="DINOv3ViTModel", blocks="model.layer", norm="norm", resizes=False),
    "instructblip": _EVA,
    "instructblip_vision_model": _EVA,
    "blip-2": _BLIP2,
    "blip_2_vision_model": _BLIP2,
}
"""``model_type`` of a checkpoint's config -> where its parts are."""


class PretrainedTower(nn.Module):
    """The vision tower of a transformers checkpoint, as it was trained: activation and norms are its config's own.

    Of a checkpoint with two towers, or with a language model behind, only the vision part is loaded. Parameters that
    tokens do not depend on (pooling head, mask token, blocks behind ``select_layer``) are dropped, so that whatever is
    set trainable has a gradient.

    Args:
        pretrained: local folder, or name on the Hugging Face hub; None builds ``config`` with random weights.
        config: transformers' own config of the vision part, ``model_type`` included. Beside ``pretrained`` it must
            agree with the checkpoint. Under ``torch.device("meta")`` it alone is used, and nothing is fetched.
        bands: C; other than 3 the patch convolution is inflated, see `rsmoe.vision.inputs.inflate_bands`.
        select_layer: index into the hidden states (0: embeddings, -1: last block, -2: the one before, as LLaVA takes),
            without the last norm; None: what the tower returns, normed where it has a norm for tokens.
        keep_prefix: whether class and register tokens stay in front of the tokens (EVA in InstructBLIP: 257 = 1 + 256).
            The pyramid never has them.
        pyramid_width: see `GridPyramid`.
        lora, bottleneck: adapters, which change nothing at first; a stage trains them by ``vision.*lora_*`` or
            ``vision.*adapter_*`` while the tower rests.
        prefix: pairs of key and value that every attention of CLIP or SigLIP learns, ``vision.*prefix_*``; they change
            the tower at once, see `rsmoe.vision.prefix_attention.PrefixAttention`.

    Raises:
        UserError: neither source is given, the checkpoint cannot be read or is of no family in `FAMILIES`, it differs
            from ``config``, or no layer has such a name as an adapter asks for.
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        config: Mapping[str, Any] | None = None,
        bands: Positive = 3,
        select_layer: int | None = None,
        keep_prefix: bool = True,
        pyramid_width: Positive | None = None,
        lora: TowerLora | None = None,
        bottleneck: TowerBottleneck | None = None,
        prefix: Positive | None = None,
    ) -> None:
        super().__init__()
        if pretrained is not None and not (config and on_meta_device()):
            own, family = tower_config(pretrained, config)
            with with_weights():
                tower = load_pretrained(
                    getattr(transformers, family.model), pretrained, config=own, key_mapping={r"^vision_model\.": ""}
                )
                remember(tower, pretrained)
                inflate_bands(tower, bands)
        elif config:
            own = _config(config)
            family = _family(own)
            tower = getattr(transformers, family.model)(own)
            inflate_bands(tower, bands)
        else:
            raise UserError("vision.pretrained is null and vision.config is empty: give a name, a folder, or a config")
        self.bands, self.patch, self.width = bands, int(own.patch_size), int(own.hidden_size)
        self.keep_prefix, self.resizes = keep_prefix, family.resizes
        _cut(tower, family, select_layer)
        adapt(tower, key="vision", lora=lora, bottleneck=bottleneck, prefix=prefix)
        self.tower = tower
        self.pyramid = GridPyramid(tokens=self.width, width=pyramid_width)
        self.pyramid_widths = self.pyramid.widths

    @property
    def base(self) -> nn.Module:
        """The tower: all but the pyramid."""
        tower: nn.Module = self.tower
        return tower

    def train(self, mode: bool = True) -> PretrainedTower:
        """A frozen tower stays in eval mode: what it sees of a picture is always the same."""
        super().train(mode)
        self.tower.train(mode and any(p.requires_grad for p in self.tower.parameters()))
        return self

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """(N, C, H, W) -> tokens (N, prefix + P, D): class and register tokens, then patches row by row; pyramid.

        Raises:
            UserError: another number of bands, or a size that patches do not divide.
        """
        return self.outputs(self.features(pixels))

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> class and register tokens (N, prefix, D), and the grid of patches (N, D, h, w).

        Position embeddings of a fixed size are interpolated (bicubic) to other sizes; DINOv3 rotates instead.

        Raises:
            UserError: another number of bands, or a size that patches do not divide.
        """
        check_pixels(pixels, bands=self.bands, multiple=self.patch)
        kwargs = {"interpolate_pos_encoding": True} if self.resizes else {}
        tokens = self.tower(pixel_values=pixels, **kwargs).last_hidden_state
        height, width = (side // self.patch for side in pixels.shape[-2:])
        prefix = tokens.shape[1] - height * width
        return tokens[:, :prefix], tokens[:, prefix:].transpose(1, 2).unflatten(2, (height, width))

    def outputs(self, features: tuple[Tensor, Tensor]) -> VisionFeatures:
        """`features` -> tokens and pyramid."""
        prefix, grid = features
        patches = grid.flatten(2).transpose(1, 2)
        return VisionFeatures(
            tokens=torch.cat([prefix, patches], dim=1) if self.keep_prefix else patches,
            pyramid=self.pyramid(patches, height=grid.shape[2], width=grid.shape[3]),
        )


def tower_config(pretrained: str, config: Mapping[str, Any] | None) -> tuple[PretrainedConfig, _Family]:
    """The config of a checkpoint's vision tower, and its family; nothing is loaded.

    Raises:
        UserError: it cannot be read, is of no family in `FAMILIES`, or differs from ``config``.
    """
    whole = load_config(pretrained)
    family, own = _family(whole), _vision_part(whole)
    require_same(pretrained, own, config or {})
    return own, family


def _config(config: Mapping[str, Any]) -> PretrainedConfig:
    given = dict(config)
    kind = str(given.pop("model_type", ""))
    require_known("vision.config.model_type", kind, known=FAMILIES)
    own: PretrainedConfig = getattr(transformers, FAMILIES[kind].model).config_class(**given)
    return _vision_part(own)


def _vision_part(config: PretrainedConfig) -> PretrainedConfig:
    own: PretrainedConfig = getattr(config, "vision_config", config)
    if hasattr(own, "vision_use_head"):
        own.vision_use_head = False  # SigLIP's pooling head: nothing here reads it
    return own


def _family(config: PretrainedConfig) -> _Family:
    if config.model_type == "clip_resnet":
        raise UserError("this checkpoint of CLIP has a ResNet for pictures: choose vision=clip_rn50")
    require_known("kind of vision tower", config.model_type, known=FAMILIES)
    return FAMILIES[config.model_type]


def require_same(name: str, own: PretrainedConfig, config: Mapping[str, Any]) -> None:
    """Refuses ``vision.config`` where it differs from the config of the checkpoint beside it."""
    differ = {
        key: (value, getattr(own, key, None))
        for key, value in config.items()
        if key != "model_type" and getattr(own, key, None) != value
    }
    if differ:
        raise UserError(
            f"vision.config differs from the checkpoint {name!r}: "
            + ", ".join(f"{k}={given} there {there}" for k, (given, there) in differ.items())
            + ". Correct these keys, or drop them with ~vision.config"
        )


def _cut(tower: nn.Module, family: _Family, select_layer: int | None) -> None:
    parent, leaf = parent_of(tower, family.blocks)
    blocks = getattr(parent, leaf)
    if select_layer is not None:
        depth = len(blocks)
        if not -depth - 1 <= select_layer <= depth:
            raise UserError(f"vision.select_layer={select_layer}: expected {-depth - 1} to {depth}")
        setattr(parent, leaf, blocks[: select_layer % (depth + 1)])
    if select_layer is not None or not family.normed:
        setattr(tower, family.norm, nn.Identity())
    for module in tower.modules():
        if getattr(module, "mask_token", None) is not None:  # for masked image modelling only
            module.mask_token = None  # type: ignore[assignment]
