"""The causal language model that experts build on: pretrained by name or folder, or random from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from rsmoe.checks.llama_config import LlamaConfig
from rsmoe.checks.ranges import Positive
from rsmoe.errors import UserError, require_known
from rsmoe.experts.llama import Llama
from rsmoe.weights.bases import remember
from rsmoe.weights.pretrained import explained, load_config, load_pretrained, on_meta_device, rebuilding, with_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# transformers' models are imported where one is built: that takes four seconds, and a `Llama` needs none of it
DTYPES = ("float32", "bfloat16", "float16")


def causal_lm(
    *,
    vocab_size: Positive,
    pretrained: str | None = None,
    config: Mapping[str, Any] | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"] | None = None,
) -> nn.Module:
    """Builds or loads a causal LM: a `Llama` with new weights is ours, any other is one of Hugging Face's.

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
    require_known("dtype", dtype, known=DTYPES)
    kind = getattr(torch, dtype)
    if pretrained is not None and not (config and on_meta_device()):
        return _load(pretrained, vocab_size, dtype=kind, attention=attention)
    if config is None:
        raise UserError("a language model without config can only be loaded: set lm.pretrained, or lm.config")
    settings = dict(config)
    words = max(vocab_size, settings.pop("vocab_size", 0))  # a pretrained table may be longer than its tokenizer
    if "model_type" not in settings:
        raise UserError(f"lm.config needs model_type (llama, qwen3, opt, gpt2, ...), got {sorted(settings)}")
    if attention in (None, "sdpa") and LlamaConfig.fits(settings):
        return Llama(config=LlamaConfig.of({**settings, "vocab_size": words})).to(kind)
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        full = AutoConfig.for_model(settings.pop("model_type"), vocab_size=words, **settings)
    except ValueError as error:
        raise UserError(f"lm.config is not one that transformers knows: {error}") from error
    full._name_or_path = pretrained or ""
    with explained("lm.config"):
        lm: PreTrainedModel = AutoModelForCausalLM.from_config(full, dtype=kind, attn_implementation=attention)
    return lm


def _load(name: str, vocab_size: int, *, dtype: torch.dtype, attention: str | None) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    kind = load_config(name)
    if kind.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(kind, "is_decoder", False):
        raise UserError(f"{name} is a {kind.model_type}, which reads in both directions: give a causal language model")
    lm: PreTrainedModel = load_pretrained(AutoModelForCausalLM, name, dtype=dtype, attn_implementation=attention)
    remember(lm, name)
    table = lm.get_input_embeddings()
    if isinstance(table, nn.Embedding) and vocab_size > table.num_embeddings:
        if rebuilding():
            _lengthen(lm, vocab_size)
        else:
            with explained(name):
                lm.resize_token_embeddings(vocab_size)
    return lm


def _lengthen(lm: PreTrainedModel, words: int) -> None:
    """As ``resize_token_embeddings`` does, with zeros for the new rows: drawing them takes longer than all the rest."""
    tables: list[Any] = [lm.get_input_embeddings(), lm.get_output_embeddings()]
    with with_weights():
        for table in tables:
            for name, old in dict(table.named_parameters(recurse=False)).items():
                new = old.data.new_zeros(max(0, words - len(old)), *old.shape[1:])
                setattr(table, name, nn.Parameter(torch.cat([old.data, new])))
        tables[0].num_embeddings, tables[1].out_features = words, words
        lm.config.get_text_config().vocab_size = words
        lm.tie_weights()
