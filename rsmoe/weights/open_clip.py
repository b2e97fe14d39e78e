"""CLIP as OpenAI and open_clip save it, and those who train with open_clip -> CLIP of transformers, or our ResNet."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from rsmoe.errors import UserError, unknown_name
from rsmoe.vision.modified_resnet import STRIDE
from rsmoe.weights.clip_resnet import ClipResNetConfig, ClipResNetModel
from rsmoe.weights.torchscript import is_torchscript, read_torchscript

QUICK, PLAIN = "quick_gelu", "gelu"
KINDS: dict[str, Mapping[str, str]] = {
    "openai": {"*": QUICK},
    "open_clip": {"*": PLAIN, "ResNet": QUICK},
    "remoteclip": {"*": QUICK},
    "georsclip": {"B/32": QUICK, "L/14": QUICK, "H/14": PLAIN},
    "skyclip": {"B/32": PLAIN, "L/14": QUICK},
}
"""Whose file it is -> the activation that its towers were trained with, by architecture where that matters. No file
says it, and the other one gives other features without an error. RemoteCLIP and GeoRSCLIP began with OpenAI's weights
(GeoRSCLIP's H/14 with LAION's), SkyCLIP's B/32 with LAION's. "open_clip" stands for what open_clip trained itself, its
ResNets on YFCC15M and CC12M with QuickGELU. A ResNet has it in its text tower alone."""
_NAMES = {r"RS5M_": "georsclip", r"RemoteCLIP-": "remoteclip", r"SkyCLIP|SkyScript": "skyclip"}
"""Beginnings of the published files' names."""
_SIZES = {768: "B", 1024: "L", 1280: "H"}
_HEAD = {1280: 80, 1408: 88, 1664: 104}
"""Channels of a head, by width of the vision tower; 64 in all others."""
_PREFIXES = {"module.": "", "image_backbone.": "visual.", "text_backbone.": ""}
"""Of training checkpoints: DDP's, and those of ITRA, with which GeoRSCLIP was trained."""
_EXTRA = ("input_resolution", "context_length", "vocab_size", "attn_mask")
"""Numbers that OpenAI's archives hold beside the weights."""
_BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip
_PLAIN_NAMES = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    **{f"ln_final.{x}": f"text_model.final_layer_norm.{x}" for x in ("weight", "bias")},
    **{f"visual.ln_pre.{x}": f"vision_model.pre_layrnorm.{x}" for x in ("weight", "bias")},
    **{f"visual.ln_post.{x}": f"vision_model.post_layernorm.{x}" for x in ("weight", "bias")},
}
_RESNET = {
    "visual.attnpool.positional_embedding": "vision_model.positional_embedding",
    **{f"visual.attnpool.c_proj.{x}": f"visual_projection.{x}" for x in ("weight", "bias")},
    **{f"visual.attnpool.{p}_proj.{x}": f"pool.{p}_proj.{x}" for p in "qkv" for x in ("weight", "bias")},
}
"""Of a ResNet; its layers keep their names behind ``vision_model``."""
_TURNED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
"""Kept as (in, out); a linear layer has (out, in)."""


@dataclass(frozen=True, kw_only=True)
class ClipFile:
    """What a file holds."""

    state: Mapping[str, Tensor]
    kind: str
    """A name of `KINDS`."""


def read_clip(path: Path, *, kind: str | None = None) -> ClipFile:
    """Weights by open_clip's names, out of a state dict (``.pt``, ``.bin``, ``.safetensors``), a training checkpoint
    that holds one, or a TorchScript archive. Nothing in the file is run.

    Args:
        kind: whose it is; None: as its name or its layout says.

    Raises:
        UserError: it cannot be read, holds something else, or nothing tells whose it is.
    """
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    if not path.is_file():
        raise UserError(f"no file {path}")
    script = is_torchscript(path)
    state = read_torchscript(path) if script else _read(path)
    state = {_plain(name): value for name, value in state.items() if _plain(name) not in _EXTRA}
    known = next((k for start, k in _NAMES.items() if re.match(start, path.name)), "openai" if script else None)
    if (kind or known) is None:
        raise UserError(
            f"{path.name} does not say whose it is, and so not which GELU it was trained with: give kind=<one of "
            f"{', '.join(KINDS)}>"
        )
    return ClipFile(state=state, kind=str(kind or known))


def to_transformers(file: ClipFile, *, image_size: int | None = None) -> CLIPModel | ClipResNetModel:
    """The model of a file, in float32 and eval mode: every weight is used, and none is left at random.

    With a ResNet for pictures, which transformers has not, it is an `rsmoe.weights.clip_resnet.ClipResNetModel`.

    Args:
        image_size: side of the pictures; other than the file's, its grid of positions is resized (bicubic).

    Raises:
        UserError: weights that are missing, unknown or of other shapes, an architecture that this kind does not have,
            or a size that patches do not divide.
    """
    state = file.state
    places = f"visual.{'attnpool.' * _is_resnet(state)}positional_embedding"
    for name in ("visual.conv1.weight", places, "positional_embedding", "token_embedding.weight"):
        if name not in state:
            raise UserError(f"the file holds no CLIP: no {name} among its {len(state)} tensors")
    config = _config(state, len(state[places]) - 1, activation=_activation(file))
    vision: Any = config.vision_config
    patch, old = vision.patch_size, vision.image_size
    size = old if image_size is None else image_size
    if size % patch:
        raise UserError(f"image_size={size}: expected a multiple of {patch}, the patches of this file (its own: {old})")
    vision.image_size = size
    model = CLIPModel(config).float() if isinstance(config, CLIPConfig) else ClipResNetModel(config).float()
    given = {name: value.float() for name, value in _renamed(state)}
    if size != old:
        key = {**_PLAIN_NAMES, **_RESNET}[places]
        given[key] = resized_positions(given[key], size // patch)
    own = model.state_dict()
    wrong = [f"{k} {tuple(v.shape)}, expected {tuple(own[k].shape)}" for k, v in given.items()
             if k in own and v.shape != own[k].shape]  # fmt: skip
    if absent := sorted(own.keys() - given.keys()):
        raise UserError(f"the file lacks {len(absent)} weights of CLIP, first: {', '.join(absent[:3])}")
    if extra := sorted(given.keys() - own.keys()):
        raise UserError(f"the file has {len(extra)} tensors that CLIP has no place for, first: {', '.join(extra[:3])}")
    if wrong:
        raise UserError(f"{len(wrong)} weights have other shapes, first: {wrong[0]}")
    model.load_state_dict(given)
    return model.eval()


def resized_positions(table: Tensor, side: int) -> Tensor:
    """(1 + g * g, D) positions of a class token and a grid -> (1 + side * side, D), bicubic as open_clip does it."""
    old = math.isqrt(len(table) - 1)
    grid = table[1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([table[:1], grid.permute(0, 2, 3, 1).flatten(0, 2)])


def _read(path: Path) -> dict[str, Tensor]:
    try:
        loaded: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"{path} is not a readable state dict ({type(error).__name__}: {first})") from error
    loaded = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError(f"{path} holds no state dict; expected names and tensors, or a key state_dict with these")
    return dict(loaded)


def _plain(name: str) -> str:
    for start, new in _PREFIXES.items():
        if name.startswith(start):
            name = new + name.removeprefix(start)
    return name


def _is_resnet(state: Mapping[str, Tensor]) -> bool:
    return "visual.layer1.0.conv1.weight" in state


def _activation(file: ClipFile) -> str:
    known = KINDS[file.kind]
    width, _, patch, _ = file.state["visual.conv1.weight"].shape
    name = "ResNet" if _is_resnet(file.state) else f"{_SIZES.get(width, f'width {width}')}/{patch}"
    if "*" not in known and name not in known:
        raise UserError(
            f"{file.kind} is known as {', '.join(known)}, and this file is {name}: which GELU it was trained with is "
            "not known. Give kind=openai for QuickGELU, kind=open_clip for GELU"
        )
    return known.get(name) or known["*"]


def _config(state: Mapping[str, Tensor], places: int, *, activation: str) -> CLIPConfig | ClipResNetConfig:
    """Of the shapes; heads have 64 channels, but for the larger vision towers."""
    side = math.isqrt(places)
    if side * side != places:
        raise UserError(f"the positions of pictures are {places} places beside the first, which are no square")
    words, text = state["token_embedding.weight"].shape
    dim = state.get("text_projection", torch.empty(0, 512)).shape[-1]
    depth, inner = _blocks(state, "transformer.resblocks.")
    text_config = {
        "hidden_size": text, "vocab_size": words, "hidden_act": activation, "num_hidden_layers": depth,
        "max_position_embeddings": len(state["positional_embedding"]), "intermediate_size": inner,
        "num_attention_heads": max(1, text // 64), "projection_dim": dim,
        "bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1,
    }  # fmt: skip
    width, _, patch, _ = state["visual.conv1.weight"].shape
    if _is_resnet(state):
        layers = [_count(state, rf"visual\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
        sizes = {"width": 2 * width, "layers": layers, "image_size": side * STRIDE}
        return ClipResNetConfig(projection_dim=dim, vision_config=sizes, text_config=text_config)
    depth, inner = _blocks(state, "visual.transformer.resblocks.")
    vision_config = {
        "hidden_size": width, "patch_size": patch, "image_size": side * patch, "hidden_act": activation,
        "num_hidden_layers": depth, "num_attention_heads": max(1, width // _HEAD.get(width, 64)),
        "intermediate_size": inner, "projection_dim": dim,
    }  # fmt: skip
    return CLIPConfig(projection_dim=dim, vision_config=vision_config, text_config=text_config)


def _blocks(state: Mapping[str, Tensor], home: str) -> tuple[int, int]:
    """How many blocks a transformer has, and the channels of their MLPs."""
    count = _count(state, rf"{home}(\d+)\.")
    if not count or f"{home}0.mlp.c_fc.weight" not in state:
        raise UserError(f"the file holds no CLIP: no {home}0.mlp.c_fc.weight")
    return count, len(state[f"{home}0.mlp.c_fc.weight"])


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max((int(m[1]) for m in (re.match(pattern, name) for name in state) if m), default=-1)


def _renamed(state: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """transformers' names; what has none keeps its own, and is then refused."""
    found: list[tuple[str, Tensor]] = []
    resnet = _is_resnet(state)
    for name, value in state.items():
        block = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", name)
        if resnet and name.startswith("visual."):
            found.append((_RESNET.get(name, name.replace("visual", "vision_model", 1)), value))
        elif name in _PLAIN_NAMES:
            found.append((_PLAIN_NAMES[name], value))
        elif name in _TURNED:
            found.append((_TURNED[name], value.T))
        elif block and block[3] in {"attn.in_proj", *_BLOCK}:
            home = f"{'vision' if block[1] else 'text'}_model.encoder.layers.{block[2]}"
            if block[3] in _BLOCK:
                found.append((f"{home}.{_BLOCK[block[3]]}.{block[4]}", value))
            else:
                thirds = zip("qkv", value.chunk(3), strict=True)
                found += [(f"{home}.self_attn.{x}_proj.{block[4]}", part) for x, part in thirds]
        else:
            found.append((name, value))
    return found
