"""Attention with learned keys and values in front of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PrefixAttention(nn.Module):
    """Prefix tuning (Li and Liang, arXiv 2101.00190): every token also sees ``length`` learned pairs of key and value.

    ``softmax(q [K'; K]^T / sqrt(d)) [V'; V]``, one softmax for both. K' is random and V' zero at first, so that what a
    token gets is what it got before, less the share of its attention that the prefix takes: unlike a LoRA or a
    bottleneck, a prefix changes the tower before the first step.

    Args:
        base_layer: self-attention of a CLIP or SigLIP tower of transformers, whose projections it goes on using.
        length: pairs.
    """

    def __init__(self, base_layer: Any, length: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        width = base_layer.q_proj.in_features
        self.prefix_key = nn.Parameter(torch.randn(length, width) * width**-0.5)
        self.prefix_value = nn.Parameter(torch.zeros(length, width))

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, is_causal: bool = False, **_: Any
    ) -> tuple[Tensor, None]:
        """(B, L, D), and the mask that transformers gives its own: (B, 1, L, L), bool or added -> (B, L, D)."""
        base, length = self.base_layer, hidden_states.shape[1]
        keys, values = base.k_proj(hidden_states), base.v_proj(hidden_states)
        keys, values = (
            torch.cat([prefix.to(own.dtype).expand(len(own), -1, -1), own], dim=1)
            for prefix, own in ((self.prefix_key, keys), (self.prefix_value, values))
        )
        if attention_mask is None and is_causal:
            attention_mask = hidden_states.new_ones(length, length, dtype=torch.bool).tril()
        if attention_mask is not None:  # every token sees the prefix
            seen = 1.0 if attention_mask.dtype == torch.bool else 0.0
            attention_mask = F.pad(attention_mask, (len(self.prefix_key), 0), value=seen)
        queries, keys, values = (
            x.unflatten(-1, (base.num_heads, -1)).transpose(1, 2) for x in (base.q_proj(hidden_states), keys, values)
        )
        dropout = base.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=attention_mask, dropout_p=dropout, scale=base.scale
        )
        out: Tensor = base.out_proj(found.transpose(1, 2).flatten(2))
        return out, None
