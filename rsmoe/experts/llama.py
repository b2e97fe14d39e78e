"""Llama (arXiv 2302.13971) for language models that begin here with random weights.

The same numbers and names of weights as ``transformers.LlamaForCausalLM``, which pretrained ones are loaded with. That
class alone takes four seconds to import, more than all else between a question and its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from rsmoe.checks.llama_config import LlamaConfig
from rsmoe.experts.llama_decoder import LlamaDecoder


class Llama(nn.Module):
    """Token embeddings or ids -> hidden states of ``base_model``, and logits.

    Takes and gives what transformers' models do, as far as `rsmoe.experts.bank.ExpertBank` asks for it.

    Args:
        config: its sizes.
    """

    def __init__(self, *, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = LlamaDecoder(config=config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=config.initializer_range)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def base_model(self) -> LlamaDecoder:
        """All but the output layer."""
        return self.model

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.lm_head.weight.dtype

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of words."""
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Linear:
        """The output layer."""
        return self.lm_head

    def forward(self, **inputs: Any) -> SimpleNamespace:
        """As `LlamaDecoder.forward`, with ``logits`` (R, L, V)."""
        out = self.model(**inputs)
        return SimpleNamespace(logits=self.lm_head(out.last_hidden_state), **vars(out))

    def activation_checkpointing_enable(self, options: Mapping[str, Any]) -> None:
        """Recomputes layers in the backward pass; options of ``torch.utils.checkpoint.checkpoint``."""
        from torch.utils.checkpoint import checkpoint  # here: only a training with little memory asks for it

        self.model.run = partial(checkpoint, **options)

    def disable_input_require_grads(self) -> None:
        """Nothing: inputs keep the gradients that they have."""

    def save_pretrained(self, folder: str | Path, *, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Writes weights, by default its own, and config for ``AutoModelForCausalLM.from_pretrained``."""
        from safetensors.torch import save_file
        from transformers import LlamaConfig as Theirs  # here: an export can wait for it, an answer cannot

        tied = ("lm_head.weight",) if self.config.tie_word_embeddings else ()
        state = self.state_dict() if state_dict is None else state_dict
        kept = {name: value.detach().cpu().contiguous() for name, value in state.items() if name not in tied}
        save_file(kept, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        whole = Theirs(**asdict(self.config), architectures=["LlamaForCausalLM"], dtype=self.dtype)
        whole.save_pretrained(folder)
