"""CLIP and SigLIP checkpoints of transformers with both of their towers."""

from __future__ import annotations

from typing import Any

import transformers

from rsmoe.errors import require_known
from rsmoe.weights.pretrained import load_config, load_pretrained

MODELS = {"clip": "CLIPModel", "siglip": "SiglipModel"}
"""``model_type`` of a config -> class of transformers."""


def both_towers(pretrained: str) -> Any:
    """A `transformers.CLIPModel` or `transformers.SiglipModel`, in eval mode.

    Args:
        pretrained: a local folder, or a name on the Hugging Face hub.

    Raises:
        UserError: it cannot be read, or is of another kind.
    """
    kind = load_config(pretrained).model_type
    require_known("kind of dual encoder", kind, known=MODELS)
    return load_pretrained(getattr(transformers, MODELS[kind]), pretrained)


def embedding_width(whole: Any) -> int:
    """Of `both_towers`: dimension of its embeddings."""
    config = whole.config
    return int(config.projection_dim if config.model_type == "clip" else config.vision_config.hidden_size)
