"""The base language model: from numbers, from a folder, on the meta device; every yaml of conf/lm and conf/bank."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from rsmoe.errors import UserError
from rsmoe.experts.language_model import causal_lm
from rsmoe.parts import instantiate

CONF = Path(__file__).parents[2] / "conf"
CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
PARAMETERS = {"llama_3_2_1b": 1_235_814_400, "llama_3_2_3b": 3_212_749_824, "vicuna_7b": 6_738_415_616}


def conf(group: str, name: str) -> dict:
    return yaml.safe_load((CONF / group / f"{name}.yaml").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(p.stem for p in (CONF / "lm").glob("*.yaml")))
@pytest.mark.parametrize("bank", ["shared", "separate"])
def test_every_lm_builds_a_bank_on_meta(name: str, bank: str) -> None:
    """Large models too: without network, with published parameter counts; three special tokens grow the table."""
    words = {"vicuna_7b": 32_000}.get(name, 128_256 if name.startswith("llama") else 500)
    with torch.device("meta"):
        lm = instantiate(conf("lm", name), vocab_size=words)
        count = sum(p.numel() for p in lm.parameters())
        assert count == PARAMETERS.get(name, count)
        grown = instantiate(conf("lm", name), vocab_size=words + 3)
        tables = 1 if grown.config.tie_word_embeddings else 2
        assert sum(p.numel() for p in grown.parameters()) == count + 3 * tables * grown.config.hidden_size
        built = instantiate(conf("bank", bank), lm=grown, experts=3)
    adapters = sum(p.numel() for n, p in built.named_parameters() if "lora_" in n)
    assert built.vocab_size == words + 3 and built.size == 3
    if name in PARAMETERS:
        assert 0 < adapters / (3 * count) < 0.02  # trainable fraction of one expert


def test_pretrained_folder_grows_for_special_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = causal_lm(vocab_size=40, config=CONFIG)
    saved.save_pretrained(tmp_path)
    lm = causal_lm(vocab_size=43, pretrained=str(tmp_path), dtype="bfloat16")
    assert lm.get_input_embeddings().num_embeddings == lm.get_output_embeddings().out_features == 43
    assert lm.dtype == torch.bfloat16 and lm.config._name_or_path == str(tmp_path)
    torch.testing.assert_close(
        lm.get_input_embeddings().weight[:40], saved.get_input_embeddings().weight.to(torch.bfloat16)
    )
    # a table that is longer than the tokenizer is kept
    assert causal_lm(vocab_size=30, pretrained=str(tmp_path)).get_input_embeddings().num_embeddings == 40


def test_attention_choice_is_kept() -> None:
    assert causal_lm(vocab_size=9, config=CONFIG, attention="eager").config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretrained": "/no/such/folder"}, "hf download"),
        ({}, r"lm\.pretrained, or lm\.config"),
        ({"config": {"hidden_size": 8}}, "model_type"),
        ({"config": {"model_type": "lama"}}, "not one that transformers knows"),
        ({"config": CONFIG, "dtype": "float8"}, "unknown dtype"),
    ],
)
def test_bad_requests_say_what_to_type(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        causal_lm(vocab_size=9, **arguments)
