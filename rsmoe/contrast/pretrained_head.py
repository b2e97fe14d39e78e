"""Pooling and projection of a CLIP or SigLIP checkpoint, behind its own vision tower."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rsmoe.checks.ranges import Positive
from rsmoe.contrast.both_towers import both_towers, embedding_width
from rsmoe.errors import UserError


class PretrainedHead(nn.Module):
    """Tokens of the checkpoint's vision tower -> embedding, as it was trained.

    CLIP: the class token, its norm and a linear map; with a ResNet, attention pooling by the mean token and a linear
    map. SigLIP: attention pooling of the patches by one learned query.

    Args:
        width: D of the tokens.
        pretrained: a local folder, or a name on the Hugging Face hub: the same as that of the tower.

    Raises:
        UserError: it cannot be read, is of another kind, or its tower has another width.
    """

    def __init__(self, *, width: Positive, pretrained: str) -> None:
        super().__init__()
        whole = both_towers(pretrained)
        own = int(whole.config.vision_config.hidden_size)
        if own != width:
            raise UserError(
                f"image_head.pretrained={pretrained}: its tower has {own} channels, vision= has {width}; name the same "
                f"checkpoint in vision.pretrained"
            )
        self.dim = embedding_width(whole)
        tower: Any = whole.vision_model
        if whole.config.model_type == "clip":
            self.norm, self.pool, self.project = tower.post_layernorm, None, whole.visual_projection
        elif whole.config.model_type == "clip_resnet":
            self.norm, self.pool, self.project = nn.Identity(), whole.pool, whole.visual_projection
        else:
            self.norm, self.pool, self.project = nn.Identity(), tower.head, nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, P, D), of CLIP the class token first -> (n, dim)."""
        pooled = self.norm(tokens[:, 0]) if self.pool is None else self.pool(tokens)
        out: Tensor = self.project(pooled)
        return out
