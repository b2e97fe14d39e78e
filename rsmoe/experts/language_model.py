"""The causal language model that experts build on: pretrained by name or folder, or random from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from rsmoe.errors import UserError, unknown_name
from rsmoe.ranges import Positive

DTYPES = ("float32", "bfloat16", "float16")


def causal_lm(
    *,
    vocab_size: Positive,
    pretrained: str | None = None,
    config: Mapping[str, Any] | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"] | None = None,
) -> PreTrainedModel:
    """Builds or loads a Hugging Face causal LM.

    With ``pretrained`` its weights are loaded, and the embedding table grows to ``vocab_size`` where special tokens
    were added. Without it, and on the meta device (``with torch.device("meta")``), ``config`` alone says what is built.

    Args:
        vocab_size: tokens of the codec, with the special ones.
        pretrained: hub name or local folder.
        config: arguments of the model's ``transformers`` config, with ``model_type``.
        dtype: "float32", "bfloat16" or "float16".
        attention: "sdpa", "eager", "flash_attention_2" ...; null lets transformers choose. Any other name would be one
            of a kernel on the hub, code that transformers fetches and runs.

    Raises:
        UserError: a model that cannot be loaded, an unknown model type or dtype, neither ``pretrained`` nor ``config``.
    """
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    options = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    on_meta = torch.get_default_device().type == "meta"
    if pretrained is not None and not on_meta:
        return _load(pretrained, vocab_size, options)
    if config is None:
        raise UserError("a language model without config can only be loaded: set lm.pretrained, or lm.config")
    settings = dict(config)
    words = max(vocab_size, settings.pop("vocab_size", 0))  # a pretrained table may be longer than its tokenizer
    if "model_type" not in settings:
        raise UserError(f"lm.config needs model_type (llama, qwen3, opt, gpt2, ...), got {sorted(settings)}")
    try:
        full = AutoConfig.for_model(settings.pop("model_type"), vocab_size=words, **settings)
    except ValueError as error:
        raise UserError(f"lm.config is not one that transformers knows: {error}") from error
    full._name_or_path = pretrained or ""
    lm: PreTrainedModel = AutoModelForCausalLM.from_config(full, **options)
    return lm


def _load(pretrained: str, vocab_size: int, options: Mapping[str, Any]) -> PreTrainedModel:
    try:
        lm: PreTrainedModel = AutoModelForCausalLM.from_pretrained(pretrained, **options)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"cannot load the language model {pretrained!r}: {reason} Give a folder with lm.pretrained=/path, or "
            f"download it where there is a network: hf download {pretrained} (gated models: hf auth login)"
        ) from error
    table = lm.get_input_embeddings()
    if isinstance(table, nn.Embedding) and vocab_size > table.num_embeddings:
        lm.resize_token_embeddings(vocab_size)
    return lm
