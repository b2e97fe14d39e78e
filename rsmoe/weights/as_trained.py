"""Pixels and tokenizers as a pretrained part was trained with them: defaults, which typed values replace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rsmoe.errors import UserError

_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CLIP_PIXELS = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
_HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
_SATELLITE = {"mean": [0.430, 0.411, 0.296], "std": [0.213, 0.156, 0.143]}  # of DINOv3's 493 M pictures
_FAMILIES = {"clip": CLIP_PIXELS, "instructblip": CLIP_PIXELS, "blip": CLIP_PIXELS, "siglip": _HALF, "dinov": _IMAGENET}
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
