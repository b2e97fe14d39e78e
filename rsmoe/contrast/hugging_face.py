"""CLIP and SigLIP of transformers, both towers, out of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.contrast.both_towers import MODELS, both_towers
from rsmoe.contrast.text_tokens import TextTokens
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.vision.inputs import check_pixels
from rsmoe.weights.as_trained import as_trained


def is_dual_folder(path: Path) -> bool:
    """Whether a folder holds a CLIP or SigLIP of transformers, both towers."""
    try:
        kind = json.loads((path / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False
    return kind in MODELS


class HuggingFaceDual(nn.Module):
    """Both towers with their projections, as they were trained.

    Args:
        folder: config.json, weights and tokenizer, as save_pretrained writes them.

    Raises:
        UserError: one of these is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.model = both_towers(str(folder))
        config = self.model.config
        self.siglip, self.resizes = config.model_type == "siglip", config.model_type != "clip_resnet"
        vision, text = config.vision_config, config.text_config
        self.patch, self.longest = int(vision.patch_size), int(text.max_position_embeddings)
        root: dict[str, Any] = {"vision": {"_target_": "PretrainedTower", "pretrained": str(folder)}}
        self.image_size: int = as_trained("image_size", root=root)
        self.mean: list[float] = as_trained("mean", root=root)
        self.std: list[float] = as_trained("std", root=root)
        self.requires_grad_(False).eval()

    @property
    def weights(self) -> Path:
        """The file that holds them."""
        files = [*sorted(self._folder.glob("*.safetensors")), *sorted(self._folder.glob("pytorch_model*.bin"))]
        if not files:
            raise UserError(f"{self._folder} holds no model.safetensors")
        return files[0]

    def config(self) -> dict[str, Any]:
        """Of transformers, plain."""
        plain: dict[str, Any] = json.loads(self.model.config.to_json_string(use_diff=False))
        return plain

    def tokens(self) -> TextTokens:
        """Its tokenizer, with the length and frame of its training."""
        codec = TextCodec.from_pretrained(str(self._folder))
        return TextTokens(codec, longest=self.longest, wrap=True, padded=self.siglip)

    def embed_images(self, pixels: Tensor) -> Tensor:
        """(n, 3, H, W) normalised pixels -> (n, dim) of length 1."""
        check_pixels(pixels, bands=3, multiple=self.patch)
        kwargs = {"interpolate_pos_encoding": True} if self.resizes else {}
        out = self.model.get_image_features(pixel_values=pixels, **kwargs)
        return F.normalize(_pooled(out).float(), dim=-1)

    def embed_texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, L) token ids and the bool mask of the tokens -> (n, dim) of length 1."""
        seen = {} if self.siglip else {"attention_mask": mask.long()}
        return F.normalize(_pooled(self.model.get_text_features(input_ids=ids, **seen)).float(), dim=-1)


def _pooled(out: Any) -> Tensor:
    """transformers 5 gives an output whose pooled state is the projected one; versions before gave that alone."""
    found: Tensor = out if isinstance(out, Tensor) else out.pooler_output
    return found
