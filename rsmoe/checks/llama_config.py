"""Sizes of a Llama that is built here, under the names of ``transformers.LlamaConfig``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

_SET = {
    "model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "pretraining_tp": 1,
    "pad_token_id": None, "is_encoder_decoder": False, "output_attentions": False, "output_hidden_states": False,
    "return_dict": True, "use_cache": True, "chunk_size_feed_forward": 0, "problem_type": None,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
}  # fmt: skip
"""Keys with one value here; transformers has written them all into older checkpoints."""


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The keys that `rsmoe.experts.llama.Llama` reads, with the defaults of transformers."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int | None = None
    """None: as many as heads."""
    head_dim: int | None = None
    """None: hidden_size / num_attention_heads."""
    vocab_size: int = 0
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    attention_dropout: float = 0.0
    tie_word_embeddings: bool = False
    rope_parameters: Mapping[str, Any] = field(default_factory=lambda: {"rope_type": "default", "rope_theta": 10000.0})
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2

    @classmethod
    def fits(cls, config: Mapping[str, Any]) -> bool:
        """Whether a config asks for nothing that is not built here, such as scaled rotary positions or biases."""
        read = {each.name for each in fields(cls)}
        needed = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        known = all(key in read or config[key] == _SET.get(key, ...) for key in config)
        rope = config.get("rope_parameters", {})
        plain = isinstance(rope, Mapping) and (not rope or rope.keys() == {"rope_type", "rope_theta"})
        plain = plain and rope.get("rope_type", "default") == "default"
        return config.get("model_type") == "llama" and known and plain and all(key in config for key in needed)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """What a config, for which `fits` is true, says."""
        read = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in config.items() if key in read})
