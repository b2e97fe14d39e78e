"""Pixels and vocabularies as a pretrained part was trained with them: defaults, which typed values replace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rsmoe.errors import UserError

_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
_HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
_SATELLITE = {"mean": [0.430, 0.411, 0.296], "std": [0.213, 0.156, 0.143]}  # of DINOv3's 493 M pictures
_FAMILIES = {"clip": _CLIP, "instructblip": _CLIP, "blip": _CLIP, "siglip": _HALF, "dinov": _IMAGENET}
"""First letters of a ``model_type`` -> how its pictures were normalised."""
_LITE = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
_LITE_PX = {1.0: 224, 1.1: 260}
"""``channel_factor`` of an EfficientNet-Lite -> side of the pictures that its weights were trained with."""
_DINO_PX = 224  # the config's image_size is that of its table of positions, 518


def as_trained(key: str, default: Any = None, *, root: Mapping[str, Any]) -> Any:
    """Resolver ``${as_trained:<key>,<default>}`` of ``conf/train.yaml``.

    "image_size", "mean" and "std" are those of ``preprocessor_config.json`` in the folder ``vision.pretrained``, else
    those of the tower's family, or of EfficientNet-Lite; of a tower from scratch ImageNet's, and ``default`` pixels.
    "instruction" is the tokenizer of the checkpoint that the Q-Former starts from, None for one from scratch.

    Args:
        root: the whole config.

    Raises:
        UserError: the folder's file is no json, or its numbers are none.
    """
    if key == "instruction":
        return _instruction(_plain(root.get("qformer")))
    vision = _plain(root.get("vision"))
    name, config = str(vision.get("pretrained") or ""), vision.get("config") or {}
    if name and "EfficientNetLite" in str(vision.get("_target_")):
        factor = float(vision.get("channel_factor") or 1.0)
        return _LITE_PX.get(factor, _LITE_PX[1.0]) if key == "image_size" else list(_LITE[key])
    if not name and not (config and "PretrainedTower" in str(vision.get("_target_"))):
        return default if key == "image_size" else list(_IMAGENET[key])
    folder = Path(name).expanduser() if name else None
    own = _read(folder / "config.json") if folder else {}
    own = own.get("vision_config", {}) | {"model_type": own["model_type"]} if "vision_config" in own else own
    seen = _read(folder / "preprocessor_config.json") if folder else {}
    kind = str(own.get("model_type") or config.get("model_type") or "")
    if key == "image_size":
        found = _side(seen.get("crop_size")) or _side(seen.get("size"))
        return found or (_DINO_PX if kind.startswith("dinov") else own.get("image_size") or config.get("image_size"))
    if f"image_{key}" in seen:
        return [float(value) for value in seen[f"image_{key}"]]
    if "sat493m" in name:
        return list(_SATELLITE[key])
    return list(next((f for start, f in _FAMILIES.items() if kind.startswith(start)), _IMAGENET)[key])


def check_vocabularies(config: Mapping[str, Any]) -> None:
    """Nothing, where every pretrained table of words is read with a tokenizer that may be its own.

    Raises:
        UserError: words fitted on the training text, or another checkpoint's, would meet foreign rows.
    """
    lm, instruction = config["text"]["lm"], config["text"]["instruction"]
    qformer, prompts = config["qformer"], config["prompts"].get("lm") or {}
    tables = [
        ("lm.pretrained", config["lm"].get("pretrained"), "text.lm", lm),
        ("prompts.lm.pretrained", prompts.get("pretrained"), "text.lm", lm),
        *((f"qformer.{key}", qformer.get(key), "text.instruction", instruction) for key in ("bert", "instructblip")),
    ]
    for key, name, codec_key, codec in tables:
        if name and not codec:
            raise UserError(
                f"{codec_key}=null fits a vocabulary on the training text, and {key}={name} has a table of its own: "
                f"words would be read by foreign rows. Leave {codec_key} out, or give the tokenizer: {codec_key}={name}"
            )
        if name and codec != name and codec_key == "text.lm":
            _same_words(key, str(name), str(codec))


def _same_words(key: str, name: str, codec: str) -> None:
    """`UserError` where the checkpoint has a tokenizer, and ``codec`` gives its words other numbers."""
    from rsmoe.data.text_codec import TextCodec

    try:
        own = TextCodec.from_pretrained(name).vocabulary()
    except UserError:
        return  # weights alone: nothing to compare with
    given = TextCodec.from_pretrained(codec).vocabulary()
    for word, number in own.items():
        if given.get(word, number) != number:
            raise UserError(
                f"text.lm={codec} gives {word!r} the number {given[word]}, and {key}={name} has it in row {number}: "
                f"words would be read by foreign rows. Give text.lm={name}"
            )


def _instruction(qformer: Mapping[str, Any]) -> str | None:
    if qformer.get("bert"):
        return str(qformer["bert"])
    if not qformer.get("instructblip"):
        return None
    own = Path(str(qformer["instructblip"])).expanduser() / "qformer_tokenizer"  # where InstructBLIP's folders keep it
    return str(own) if own.is_dir() else "bert-base-uncased"


def _read(path: Path) -> dict[str, Any]:
    """A json file of a checkpoint's folder; {} where there is none, as of a name on the hub."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable json: {error}") from error
    return found if isinstance(found, dict) else {}


def _side(size: Any) -> int | None:
    """Pixels of ``crop_size`` or ``size``, which are a number or a mapping."""
    if isinstance(size, Mapping):
        size = size.get("height", size.get("shortest_edge"))
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def _plain(node: Any) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else node
    return dict(found or {})


def _resolved(key: str, default: Any = None, *, _root_: DictConfig) -> Any:
    found = as_trained(key, default, root=_root_)
    return OmegaConf.create(found) if isinstance(found, list) else found


OmegaConf.register_new_resolver("as_trained", _resolved, replace=True)
