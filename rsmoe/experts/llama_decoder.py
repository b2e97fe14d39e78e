"""Layers of a Llama: rotary positions, grouped attention over a cache, SwiGLU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.llama_config import LlamaConfig


@dataclass
class _KeyValues:
    """Keys and values of the positions that were read, (R, heads, S, d) of each layer."""

    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def extended(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All of a layer, with new ones behind."""
        if layer == len(self.layers):
            self.layers.append((key, value))
        else:
            old_key, old_value = self.layers[layer]
            self.layers[layer] = torch.cat([old_key, key], 2), torch.cat([old_value, value], 2)
        return self.layers[layer]

    def batch_select_indices(self, index: Tensor) -> None:
        """Keeps the rows ``index`` (R',), in that order."""
        self.layers = [(key.index_select(0, index), value.index_select(0, index)) for key, value in self.layers]


class LlamaDecoder(nn.Module):
    """Layers of attention and feed-forward network between two norms."""

    frequency: Tensor

    def __init__(self, *, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        width = config.head_dim or config.hidden_size // config.num_attention_heads
        half = torch.arange(0, width, 2, dtype=torch.float) / width
        self.register_buffer("frequency", config.rope_parameters["rope_theta"] ** -half, persistent=False)
        self.run: Callable[..., Tensor] | None = None

    def forward(
        self,
        *,
        attention_mask: Tensor,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: _KeyValues | None = None,
        use_cache: bool = False,
    ) -> SimpleNamespace:
        """R rows of L tokens behind S - L that are in the cache.

        Args:
            attention_mask: (R, S), 0 where there is padding.
            input_ids: (R, L), or ``inputs_embeds`` (R, L, D).
            position_ids: (R, L); None: those of the tokens that count.
            past_key_values: of the pass before, extended in place; None with ``use_cache``: a new one.

        Returns:
            ``last_hidden_state`` (R, L, D) and ``past_key_values``.
        """
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        count, every = x.shape[1], attention_mask.shape[1]
        if position_ids is None:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp_min(0)[:, -count:]
        cache = _KeyValues() if use_cache and past_key_values is None else past_key_values
        place = torch.arange(every, device=x.device)
        mine = place[-count:, None]
        # padding reads itself: a softmax over nothing is no number
        seen = (attention_mask.bool()[:, None] & (place <= mine)) | (place == mine)  # (R, L, S)
        angle = position_ids[..., None].float() * self.frequency
        angle = torch.cat([angle, angle], -1)[:, None]  # (R, 1, L, d)
        turn = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for layer in self.layers:
            if self.run is not None and self.training:
                x = self.run(layer, x, seen[:, None], turn, cache)
            else:
                x = layer(x, seen[:, None], turn, cache)
        return SimpleNamespace(last_hidden_state=self.norm(x), past_key_values=cache)


class _Layer(nn.Module):
    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        self.self_attn, self.mlp = _Attention(config, index), _FeedForward(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, x: Tensor, seen: Tensor, turn: tuple[Tensor, Tensor], cache: _KeyValues | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), seen, turn, cache)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class _Attention(nn.Module):
    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        self.index, self.dropout = index, config.attention_dropout
        self.head = config.head_dim or config.hidden_size // config.num_attention_heads
        heads = config.num_attention_heads
        every, shared = heads * self.head, (config.num_key_value_heads or heads) * self.head
        self.grouped = every != shared
        self.q_proj = nn.Linear(config.hidden_size, every, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, shared, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, shared, bias=False)
        self.o_proj = nn.Linear(every, config.hidden_size, bias=False)

    def forward(self, x: Tensor, seen: Tensor, turn: tuple[Tensor, Tensor], cache: _KeyValues | None) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (-1, self.head)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = _turned(q, *turn), _turned(k, *turn)
        if cache is not None:
            k, v = cache.extended(self.index, k, v)
        dropout = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout, enable_gqa=self.grouped)
        out: Tensor = self.o_proj(read.transpose(1, 2).flatten(2))
        return out


class _FeedForward(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864): the second half of a head's numbers are the partners of the first."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
