"""What a run is made from, looked at before hours are spent: pretrained weights, tokenizers, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.utils import is_flash_attn_2_available

from rsmoe.build import codecs_of
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.training.checkpoints import load_checkpoint
from rsmoe.vision.pretrained_tower import tower_config
from rsmoe.weights.pretrained import check_weights, needs_flash


def check_sources(config: Mapping[str, Any]) -> None:
    """Refuses names and folders that cannot be used, in seconds, in the words of the command line.

    Args:
        config: resolved, of `rsmoe.train`.

    Raises:
        UserError: the key, and what is wrong with what it names.
    """
    for key in ("resume", "start"):
        if config[key]:
            _with_key(key, lambda path: codecs_of(load_checkpoint(Path(path), weights=False)), config[key])
    vision, prompts = config["vision"], config["prompts"]
    qformer, text = config["qformer"], config["text"]
    tower = vision["_target_"] == "rsmoe.vision.pretrained_tower.PretrainedTower"
    weights = {
        "vision.pretrained": vision.get("pretrained") if tower else None,  # other weights come out of a package
        "lm.pretrained": config["lm"].get("pretrained"),
        "prompts.lm.pretrained": (prompts.get("lm") or {}).get("pretrained"),
        "qformer.bert": qformer.get("bert"),
        "qformer.instructblip": qformer.get("instructblip"),
    }
    for key, name in weights.items():
        if name:
            _with_key(key, check_weights, name)
    flash = str(config["lm"].get("attention")) == "flash_attention_2"
    if flash and not is_flash_attn_2_available():
        raise needs_flash()
    if tower and vision.get("pretrained"):
        tower_config(vision["pretrained"], vision.get("config"))
    for key in ("lm", "instruction"):
        if text[key] and not config["resume"]:  # a run that goes on has its tokenizers
            _with_key(f"text.{key}", TextCodec.from_pretrained, text[key])


def _with_key(key: str, check: Any, name: Any) -> None:
    """``check(name)``, its error beginning with the key."""
    try:
        check(str(name))
    except UserError as error:
        raise UserError(f"{key}={name}: {error}") from error
