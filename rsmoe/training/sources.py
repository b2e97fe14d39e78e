"""What a run is made from, looked at before hours are spent: pretrained weights, tokenizers, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.utils.import_utils import is_flash_attn_2_available

from rsmoe.build import build_model, codecs_of, require_fit
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.training.checkpoints import is_dual, load_checkpoint
from rsmoe.vision.clip_resnet import ClipResNet
from rsmoe.vision.pretrained_tower import PretrainedTower, tower_config
from rsmoe.weights.bases import LeftOut
from rsmoe.weights.pretrained import check_weights, needs_flash, without_weights


def check_sources(config: Mapping[str, Any]) -> None:
    """Refuses names and folders that cannot be used, in seconds, in the words of the command line.

    Args:
        config: resolved, of `rsmoe.train`.

    Raises:
        UserError: the key, and what is wrong with what it names.
    """
    for key, check in (("resume", _check_resumed), ("start", _check_started)):
        if config[key]:
            _with_key(key, partial(check, config), config[key])
    vision, text = config["vision"], config["text"]
    tower, resnet = (
        vision["_target_"] == f"{part.__module__}.{part.__name__}" for part in (PretrainedTower, ClipResNet)
    )
    for key, name in _pretrained(config).items():
        if key != "vision.pretrained" or tower or resnet:  # others come out of a package
            _with_key(key, check_weights, name)
    flash = str(config["lm"].get("attention")) == "flash_attention_2"
    if flash and not is_flash_attn_2_available():
        raise needs_flash()
    if tower and vision.get("pretrained"):
        tower_config(vision["pretrained"], vision.get("config"))
    for key in ("lm", "instruction"):
        if text[key] and not config["resume"]:  # a run that goes on has its tokenizers
            _with_key(f"text.{key}", TextCodec.from_pretrained, text[key])


def _check_resumed(config: Mapping[str, Any], path: str) -> None:
    """Refuses a checkpoint whose weights are not those of the model that its run trains."""
    checkpoint = load_checkpoint(Path(path), weights=False)
    own = _without_reading(config, checkpoint)
    bases = {name for base in LeftOut.from_checkpoint(checkpoint) for name in base.tensors}
    state = _of_the_model(checkpoint)
    require_fit(*({name: v for name, v in tensors.items() if name not in bases} for tensors in (own, state)))


def _check_started(config: Mapping[str, Any], path: str) -> None:
    """Refuses a checkpoint of which no weight has a place in the new model.

    The new tokenizers are not known before the corpus is read: those of the checkpoint stand for them, and sizes of
    vocabularies do not count. A model that begins with pretrained weights is not built twice for this.
    """
    checkpoint = load_checkpoint(Path(path), weights=False)
    if is_dual(checkpoint):  # it gives its vision encoder alone, see `rsmoe.training.start.start_vision`
        return
    codecs_of(checkpoint)
    if _pretrained(config):
        return
    own = _without_reading(config, checkpoint)
    given = _of_the_model(checkpoint)
    if not any(name in given and given[name].shape[1:] == value.shape[1:] for name, value in own.items()):
        raise UserError("no weight of that checkpoint has a place in this model. Is it the run you mean?")


def _of_the_model(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Weights by their names in the model; a training loss may keep some of its own beside them."""
    weights = checkpoint["state_dict"].items()
    return {name.removeprefix("model."): value for name, value in weights if name.startswith("model.")}


def _without_reading(config: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """State dict, on the meta device, of the model that a config builds with the tokenizers of a checkpoint."""
    codec, words = codecs_of(checkpoint)
    config, built = deepcopy(dict(config)), checkpoint["hyper_parameters"].get("built", {})
    nodes = {"vision": config["vision"], "lm": config["lm"], "prompts": config["prompts"].get("lm") or {}}
    for group, node in nodes.items():
        if node.get("pretrained") and group in built:
            node |= {"pretrained": None, "config": built[group]}
    for key in ("bert", "instructblip"):
        if config["qformer"].get(key):
            config["qformer"][key] = None
    with without_weights():
        state: dict[str, torch.Tensor] = build_model(config, codec, words).state_dict()
    return state


def _pretrained(config: Mapping[str, Any]) -> dict[str, str]:
    """Key -> name or folder of the weights that it gives."""
    qformer = config["qformer"]
    given = {
        "vision.pretrained": config["vision"].get("pretrained"),
        "lm.pretrained": config["lm"].get("pretrained"),
        "prompts.lm.pretrained": (config["prompts"].get("lm") or {}).get("pretrained"),
        "qformer.bert": qformer.get("bert"),
        "qformer.instructblip": qformer.get("instructblip"),
    }
    return {key: str(name) for key, name in given.items() if name}


def _with_key(key: str, check: Any, name: Any) -> None:
    """``check(name)``, its error beginning with the key."""
    try:
        check(str(name))
    except UserError as error:
        raise UserError(f"{key}={name}: {error}") from error
