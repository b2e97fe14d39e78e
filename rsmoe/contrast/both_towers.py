"""CLIP and SigLIP checkpoints with both of their towers."""

from __future__ import annotations

from typing import Any

from transformers import CLIPModel, SiglipModel

from rsmoe.errors import require_known
from rsmoe.weights.clip_resnet import ClipResNetModel
from rsmoe.weights.pretrained import load_config, load_pretrained

MODELS = {"clip": CLIPModel, "siglip": SiglipModel, "clip_resnet": ClipResNetModel}
"""``model_type`` of a config -> class."""


def both_towers(pretrained: str) -> Any:
    """A model of `MODELS`, in eval mode.

    Args:
        pretrained: a local folder, or a name on the Hugging Face hub.

    Raises:
        UserError: it cannot be read, or is of another kind.
    """
    kind = load_config(pretrained).model_type
    require_known("kind of dual encoder", kind, known=MODELS)
    return load_pretrained(MODELS[kind], pretrained)


def embedding_width(whole: Any) -> int:
    """Of `both_towers`: dimension of its embeddings."""
    config = whole.config
    return int(config.vision_config.hidden_size if config.model_type == "siglip" else config.projection_dim)
