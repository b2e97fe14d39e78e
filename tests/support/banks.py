"""Tiny expert banks and adapters on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from rsmoe.experts.bank import ExpertBank
from rsmoe.experts.language_model import causal_lm

V, R, L = 50, 6, 7


LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


LLAMA_TARGETS = ["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]


FAMILIES = {
    "ours": (LLAMA, LLAMA_TARGETS),
    "llama": (LLAMA, LLAMA_TARGETS),
    "qwen3": ({**LLAMA, "model_type": "qwen3", "head_dim": 8}, LLAMA_TARGETS),
    "gpt2": ({"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4}, ["c_attn", "c_fc", "mlp.c_proj"]),
    "opt": (
        {
            "model_type": "opt",
            "hidden_size": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "word_embed_proj_dim": 16,
        },
        ["q_proj", "v_proj", "fc1", "fc2"],
    ),
    "bloom": (
        {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4},
        ["query_key_value", "dense_h_to_4h", "dense_4h_to_h"],
    ),
    "gpt_neox": (
        {
            "model_type": "gpt_neox",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        ["query_key_value", "dense_h_to_4h"],
    ),
}


def base(family: str = "llama", seed: int = 0) -> Any:
    """transformers' model of a family; "ours" is our Llama with the weights of "llama"."""
    config = {**FAMILIES[family][0], "vocab_size": V, "bos_token_id": 0, "eos_token_id": 1}
    if family == "ours":
        ours = causal_lm(vocab_size=V, config=config)
        ours.load_state_dict(base("llama", seed).state_dict())
        return ours.eval()
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).eval()


def fill(bank: nn.Module, seed: int = 1) -> nn.Module:
    """B starts at zero: without this every expert is the base, and no test below could fail."""
    torch.manual_seed(seed)
    for name, p in bank.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(p, std=0.3)
    return bank


def make(family: str = "ours", experts: int = 4, **options: object) -> ExpertBank:
    settings = {"rank": 4, "alpha": 6.0, "targets": FAMILIES[family][1], **options}
    return fill(ExpertBank(lm=base(family), experts=experts, **settings)).eval()


PLAIN = {"r": 2, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


def saved(folder: Path, config: Any = None, tensors: Callable[[dict[str, Tensor]], Any] | None = None) -> None:
    """A plain adapter, its config and tensors changed."""
    from peft import LoraConfig, get_peft_model

    get_peft_model(base(), LoraConfig(**PLAIN)).save_pretrained(folder)
    path = folder / "adapter_config.json"
    if isinstance(config, dict):
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
    elif config is not None:
        path.write_bytes(config)
    if tensors is not None:
        held = load_file(folder / "adapter_model.safetensors")
        tensors(held)
        save_file({name: value.contiguous() for name, value in held.items()}, folder / "adapter_model.safetensors")
