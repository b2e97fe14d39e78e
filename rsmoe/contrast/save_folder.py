"""A dual encoder that went on from a checkpoint of transformers, as such a checkpoint again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from rsmoe.contrast.both_towers import both_towers
from rsmoe.contrast.dual_encoder import DualEncoder
from rsmoe.contrast.pretrained_head import PretrainedHead
from rsmoe.contrast.pretrained_text import PretrainedText
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.vision.clip_resnet import ClipResNet
from rsmoe.vision.prefix_attention import PrefixAttention
from rsmoe.vision.pretrained_tower import PretrainedTower
from rsmoe.vision.tower_adapters import Bottleneck


def save_folder(model: DualEncoder, codec: TextCodec, config: Mapping[str, Any], folder: Path) -> None:
    """Writes config.json, model.safetensors, preprocessor_config.json and the tokenizer; LoRA is merged.

    The folder is one as the run began with, which ``checkpoint=`` and ``vision.pretrained=`` take.

    Args:
        config: of the run.

    Raises:
        UserError: a tower, head or adapter that transformers' own model has no place for.
    """
    vision, head, text = model.vision, model.image, model.text
    if not (
        isinstance(vision, PretrainedTower | ClipResNet)
        and isinstance(head, PretrainedHead)
        and isinstance(text, PretrainedText)
        and text.projects
    ):
        raise UserError(
            "only a run with image_head=pretrained text_tower=pretrained, such as recipe=clip_finetune, becomes a CLIP "
            "folder; any run is asked by rsmoe.evaluate, rsmoe.index and rsmoe.segment as it is"
        )
    whole = both_towers(str(config["vision"]["pretrained"]))
    kind, seen = whole.config.model_type, _plain(vision.tower)
    pool: Any = head.pool
    if kind == "clip":
        seen |= {f"post_layernorm.{name}": value for name, value in head.norm.state_dict().items()}
    elif kind == "siglip":
        seen |= {f"head.{name}": value for name, value in pool.state_dict().items()}
    else:
        whole.pool.load_state_dict(pool.state_dict())
    if kind != "siglip":
        whole.visual_projection.load_state_dict(head.project.state_dict())
        whole.text_projection.load_state_dict(text.out.state_dict())
    whole.vision_model.load_state_dict(seen)
    whole.text_model.load_state_dict(_plain(text.tower))
    for name, value in model.loss.state_dict().items():
        if hasattr(whole, name):
            getattr(whole, name).data.copy_(value)
    whole.save_pretrained(folder)
    codec.tokenizer.save_pretrained(folder)
    side = config["image_size"]
    pixels = {
        "do_normalize": True, "do_resize": True, "do_center_crop": False, "resample": 3,
        "size": {"height": side, "width": side}, "image_mean": config["mean"], "image_std": config["std"],
        "image_processor_type": "CLIPImageProcessor",
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels, indent=2), encoding="utf-8")


def _plain(tower: nn.Module) -> dict[str, Tensor]:
    """Weights by the names of a tower without adapters; a LoRA is added to the layer that it adapts."""
    if any(isinstance(module, Bottleneck | PrefixAttention) for module in tower.modules()):
        raise UserError(
            "bottleneck adapters and prefixes have no place in a CLIP folder: train with lora=, or ask the run as it is"
        )
    for module in tower.modules():
        if isinstance(module, LoraLayer):
            module.merge()
    state = tower.state_dict()
    return {name.replace(".base_layer.", "."): value for name, value in state.items() if "lora_" not in name}
