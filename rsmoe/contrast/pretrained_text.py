"""The text model of a CLIP or SigLIP checkpoint as a text tower."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import CLIPTextModel, SiglipTextModel

from rsmoe.checks.ranges import Positive
from rsmoe.contrast.both_towers import both_towers, embedding_width
from rsmoe.errors import UserError, unknown_name
from rsmoe.vision.tower_adapters import TowerBottleneck, TowerLora, adapt
from rsmoe.weights.pretrained import load_config, load_pretrained

_MODELS = {"clip": CLIPTextModel, "clip_resnet": CLIPTextModel, "siglip": SiglipTextModel}
"""Family of a config -> class."""


class PretrainedText(nn.Module):
    """Its pooled state (of the end token; of SigLIP the last place), and a linear map to the embedding.

    The map is the checkpoint's own projection where the checkpoint has both towers and the embedding its dimension
    (SigLIP has none: its pooled state is the embedding); else it begins at random.

    Args:
        pretrained: a local folder, or a name on the Hugging Face hub.
        vocab_size: of the tokenizer, which must be the checkpoint's.
        dim: of the embedding.
        lora, bottleneck: adapters of its linear layers, which change nothing at first.
        prefix: see `rsmoe.vision.prefix_attention.PrefixAttention`.

    Raises:
        UserError: the checkpoint cannot be read, is of another family, or has fewer words than the tokenizer.
    """

    def __init__(
        self,
        *,
        pretrained: str,
        vocab_size: Positive,
        dim: Positive,
        lora: TowerLora | None = None,
        bottleneck: TowerBottleneck | None = None,
        prefix: Positive | None = None,
    ) -> None:
        super().__init__()
        config = load_config(pretrained)
        family = config.model_type.removesuffix("_text_model")
        if family not in _MODELS:
            raise unknown_name("kind of text model", config.model_type, _MODELS)
        own: Any = getattr(config, "text_config", config)
        if own.vocab_size < vocab_size:
            raise UserError(f"the tokenizer of {pretrained} has {vocab_size} tokens, its text model {own.vocab_size}")
        self.wrap, self.padded, self.longest = True, family == "siglip", int(own.max_position_embeddings)
        self.out: nn.Module = nn.Linear(int(own.hidden_size), dim)
        self.projects = False
        """Whether ``out`` is the checkpoint's own."""
        if config.model_type == family:
            whole = both_towers(pretrained)
            self.tower: Any = whole.text_model
            self.projects = dim == embedding_width(whole)
            if self.projects:
                self.out = nn.Identity() if self.padded else whole.text_projection
        else:
            self.tower = load_pretrained(_MODELS[family], pretrained, config=own, key_mapping={r"^text_model\.": ""})
        adapt(self.tower, key="text_tower", lora=lora, bottleneck=bottleneck, prefix=prefix)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, L) token ids and the bool mask of the tokens -> (n, dim)."""
        seen = {} if self.padded else {"attention_mask": mask.long()}
        out: Tensor = self.out(self.tower(input_ids=ids, **seen).pooler_output)
        return out
