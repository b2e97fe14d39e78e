"""CLIP with a ResNet for pictures, which transformers has no class for, as a model that it saves and loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, CLIPTextConfig, CLIPTextModel, PretrainedConfig, PreTrainedModel

from rsmoe.vision.modified_resnet import STRIDE, ModifiedResNet

_HEAD = 64
"""Channels of a head of the attention pooling."""


class ClipResNetVisionConfig(PretrainedConfig):
    """Of the image tower; RN50 is the default. Arguments as of `rsmoe.vision.modified_resnet.ModifiedResNet`."""

    model_type = "clip_resnet_vision"

    def __init__(
        self, width: int = 64, layers: Sequence[int] = (3, 4, 6, 3), image_size: int = 224, **kwargs: Any
    ) -> None:
        self.width, self.layers, self.image_size = width, list(layers), image_size
        self.patch_size, self.hidden_size = STRIDE, STRIDE * width
        super().__init__(**kwargs)


class ClipResNetConfig(PretrainedConfig):
    """Of both towers.

    Args:
        text_config: of a `transformers.CLIPTextConfig`.
        vision_config: of a `ClipResNetVisionConfig`.
        projection_dim: of the embeddings.
    """

    model_type = "clip_resnet"

    def __init__(
        self,
        text_config: Mapping[str, Any] | None = None,
        vision_config: Mapping[str, Any] | None = None,
        projection_dim: int = 1024,
        **kwargs: Any,
    ) -> None:
        self.text_config = CLIPTextConfig(**(text_config or {}))
        self.vision_config = ClipResNetVisionConfig(**(vision_config or {}))
        self.projection_dim = projection_dim
        super().__init__(**kwargs)


class ClipResNetModel(PreTrainedModel):
    """Both towers, the attention pooling and the projections, by the names that `transformers.CLIPModel` has.

    Args:
        config: of the sizes.
    """

    config_class = ClipResNetConfig

    def __init__(self, config: ClipResNetConfig) -> None:
        super().__init__(config)
        vision, dim = config.vision_config, config.projection_dim
        self.vision_model = ModifiedResNet(width=vision.width, layers=vision.layers, image_size=vision.image_size)
        self.pool = AttentionPool(vision.hidden_size)
        self.visual_projection = nn.Linear(vision.hidden_size, dim)
        self.text_model = CLIPTextModel(config.text_config)
        self.text_projection = nn.Linear(config.text_config.hidden_size, dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))
        self.post_init()

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """(n, 3, H, W) -> (n, dim)."""
        found: Tensor = self.visual_projection(self.pool(self.vision_model(pixel_values).tokens))
        return found

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(n, L) token ids -> (n, dim)."""
        seen = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        found: Tensor = self.text_projection(seen.pooler_output)
        return found


class AttentionPool(nn.Module):
    """The first token asks all of them: attention without the map behind it, which is the model's projection.

    Args:
        width: D, a multiple of 64.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, 1 + P, D) -> (n, D)."""
        query, keys, values = self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens)
        parts = (x.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for x in (query, keys, values))
        return F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(1)


AutoConfig.register(ClipResNetConfig.model_type, ClipResNetConfig, exist_ok=True)
