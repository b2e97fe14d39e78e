"""Weights for the Q-Former from BERT, InstructBLIP and LAVIS checkpoints."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertModel, InstructBlipConfig, InstructBlipQFormerModel
from transformers.models.instructblip.modeling_instructblip import InstructBlipPreTrainedModel

from rsmoe.errors import UserError
from rsmoe.weights.pretrained import load_config, load_pretrained

RENAMES = (
    (r"^(?:bert\.|qformer\.|Qformer\.bert\.)", ""),
    (r"^embeddings\.word_embeddings\.", "words."),
    (r"^embeddings\.position_embeddings\.", "positions."),
    (r"^embeddings\.(?:LayerNorm|layernorm)\.", "norm."),
    (r"^encoder\.layer\.", "layers."),
    (r"\.crossattention\.", ".cross_attention."),
    (r"attention\.(?:self|attention)\.", "attention."),
    (r"attention\.output\.dense\.", "attention.out."),
    (r"attention\.output\.LayerNorm\.", "attention.norm."),
    (r"\.intermediate\.dense\.", ".text_ffn.up."),
    (r"\.intermediate_query\.dense\.", ".query_ffn.up."),
    (r"\.output\.dense\.", ".text_ffn.down."),
    (r"\.output_query\.dense\.", ".query_ffn.down."),
    (r"\.output\.LayerNorm\.", ".text_ffn.norm."),
    (r"\.output_query\.LayerNorm\.", ".query_ffn.norm."),
)
"""Their names -> ours, applied in this order; BERT, transformers' InstructBLIP and LAVIS agree but for prefixes."""


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of BERT, of an InstructBLIP Q-Former, or of LAVIS's, under the names of `InstructQFormer`."""
    renamed = {}
    for name, value in state.items():
        for theirs, ours in RENAMES:
            name = re.sub(theirs, ours, name)
        renamed[name] = value
    return renamed


def bert_weights(name: str, *, into: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """What a BERT checkpoint has for a Q-Former, under its names; of a table, the rows that BERT has.

    As in BLIP-2's first stage: words, positions and text blocks are copied, each text feed-forward network is copied
    to its query twin as well; cross-attention, queries and the rows of words that BERT does not know are not in it.
    Token types and the pooler are left out.

    Args:
        name: local folder, or name on the Hugging Face hub.
        into: state dict of a new Q-Former.
        heads: its attention heads.

    Raises:
        UserError: the checkpoint is no BERT, or its shapes, activation or norms differ.
    """
    config = _config_of(name, "bert")
    _check_numbers(name, config, heads)
    theirs = rename(load_pretrained(BertModel, name, add_pooling_layer=False).state_dict())
    theirs |= {k.replace(".text_ffn.", ".query_ffn."): v for k, v in theirs.items() if ".text_ffn." in k}
    theirs = {k: v for k, v in theirs.items() if "token_type" not in k}
    new = [k for k in into if "cross_attention" in k or k == "query_tokens"]
    return _fitting(name, theirs, into, new)


def instructblip_weights(name: str, *, into: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Q-Former and queries of an InstructBLIP checkpoint, under our names; of a table, the rows that it has.

    Args:
        name: local folder, or name on the Hugging Face hub, such as Salesforce/instructblip-vicuna-7b.
        into: state dict of a new Q-Former.
        heads: its attention heads.

    Raises:
        UserError: the checkpoint is no InstructBLIP, or its shapes, activation or norms differ.
    """
    config = _config_of(name, "instructblip")
    _check_numbers(name, config.qformer_config, heads)
    return _fitting(name, rename(load_pretrained(_Donor, name).state_dict()), into, ())


class _Donor(InstructBlipPreTrainedModel):
    """The part of InstructBLIP that is read, under its names: its language model is never built."""

    def __init__(self, config: InstructBlipConfig) -> None:
        super().__init__(config)
        inner: Any = config.qformer_config
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, inner.hidden_size))
        self.qformer = InstructBlipQFormerModel(inner)
        self.post_init()


def _config_of(name: str, kind: str) -> Any:
    config = load_config(name)
    if config.model_type != kind:
        raise UserError(f"{name!r} is a checkpoint of {config.model_type!r}, expected {kind!r}")
    return config


def _check_numbers(name: str, config: Any, heads: int) -> None:
    # no shape shows them
    if config.num_attention_heads != heads:
        raise UserError(f"qformer.heads={heads}, {name!r} has {config.num_attention_heads}: set qformer.heads to that")
    own = {"hidden_act": "gelu", "layer_norm_eps": 1e-12}
    differ = {key: getattr(config, key, value) for key, value in own.items() if getattr(config, key, value) != value}
    if differ:
        raise UserError(
            f"{name!r} has {', '.join(f'{key}={value}' for key, value in differ.items())}, the Q-Former computes with "
            f"{', '.join(f'{key}={own[key]}' for key in differ)}, as BERT and InstructBLIP were published: its weights "
            f"would give other numbers. Start without: qformer.bert=null qformer.instructblip=null"
        )


def _fitting(
    name: str, theirs: Mapping[str, Tensor], into: Mapping[str, Tensor], new: Collection[str]
) -> dict[str, Tensor]:
    """Theirs, cut to the rows of ``into``, of which they must be all but those that are ``new``."""
    lacking = sorted(set(into) - set(theirs) - set(new))
    unused = sorted(set(theirs) - set(into))
    if lacking or unused:
        raise UserError(
            f"{name!r} and the Q-Former are of different depth: it lacks {', '.join(lacking[:3]) or 'nothing'} and "
            f"has {', '.join(unused[:3]) or 'nothing'} too many. Set qformer.layers and "
            f"qformer.cross_attention_frequency as in its config"
        )
    fitting = {}
    for key, value in theirs.items():
        own = into[key]
        if key in ("words.weight", "positions.weight"):
            # a tokenizer may add tokens to theirs, or lack the [DEC] that LAVIS appended
            if key == "words.weight" and len(own) < len(value) - 1:
                raise UserError(
                    f"the instruction's vocabulary has {len(own)} tokens, that of {name!r} has {len(value)}. "
                    f"Use its tokenizer: text.instruction=bert-base-uncased"
                )
            value = value[: len(own)]
        if own.shape[1:] != value.shape[1:] or (key != "words.weight" and own.shape != value.shape):
            raise UserError(
                f"{key} is {tuple(value.shape)} in {name!r} and {tuple(own.shape)} here. Set qformer.width, "
                f"intermediate, queries and max_positions as in its config"
            )
        fitting[key] = value
    return fitting
