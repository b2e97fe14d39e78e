"""Our Llama beside transformers': the same numbers, gradients, caches and files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from rsmoe.checks.llama_config import LlamaConfig
from rsmoe.experts.language_model import causal_lm
from rsmoe.experts.llama import Llama

V, R, L = 50, 5, 9
SIZES: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped": {"num_key_value_heads": 2},
    "tied": {"tie_word_embeddings": True},
    "wide heads": {"head_dim": 16, "num_key_value_heads": 1},
    "other numbers": {"rms_norm_eps": 0.1, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
}


def both(kind: str) -> tuple[Llama, Any]:
    """Ours and theirs, with the same weights, far from zero."""
    torch.manual_seed(0)
    config = {**SIZES, **KINDS[kind], "vocab_size": V}
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    ours = causal_lm(vocab_size=V, config=config).eval()
    assert isinstance(ours, Llama) and isinstance(theirs, LlamaForCausalLM)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def asked() -> dict[str, Tensor]:
    """Rows with padding before, behind and in between."""
    torch.manual_seed(1)
    mask = torch.ones(R, L, dtype=torch.long)
    mask[0, :4], mask[1, 6:], mask[2, 3:5] = 0, 0, 0
    places = (mask.cumsum(-1) - 1).clamp_min(0)
    return {"input_ids": torch.randint(V, (R, L)), "attention_mask": mask, "position_ids": places}


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_those_of_transformers(kind: str) -> None:
    found = []
    for model in both(kind):
        given = asked()
        logits = model(**given).logits[given["attention_mask"].bool()]
        logits.square().mean().backward()
        found.append((logits, {name: weight.grad for name, weight in model.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_over_a_cache_are_the_whole_pass(kind: str) -> None:
    ours, _ = both(kind)
    given = asked()
    whole = ours(**given).logits
    cache, logits = None, []
    for start, end in ((0, 5), (5, 6), (6, L)):
        out = ours(
            input_ids=given["input_ids"][:, start:end], attention_mask=given["attention_mask"][:, :end],
            position_ids=given["position_ids"][:, start:end], past_key_values=cache, use_cache=True,
        )  # fmt: skip
        cache, logits = out.past_key_values, [*logits, out.logits]
    seen = given["attention_mask"].bool()
    torch.testing.assert_close(torch.cat(logits, 1)[seen], whole[seen], atol=1e-5, rtol=1e-5)


def test_padding_has_numbers() -> None:
    ours, _ = both("plain")
    out = ours(**asked() | {"attention_mask": torch.zeros(R, L, dtype=torch.long)}).logits
    out.sum().backward()
    assert out.isfinite().all() and all(weight.grad.isfinite().all() for weight in ours.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_loads_what_it_writes(kind: str, tmp_path: Path) -> None:
    ours, _ = both(kind)
    ours.save_pretrained(tmp_path)
    loaded, told = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    given = asked()
    seen = given["attention_mask"].bool()
    torch.testing.assert_close(loaded(**given).logits[seen], ours(**given).logits[seen], atol=1e-5, rtol=1e-5)


def test_new_weights_are_as_wide_as_the_config_says() -> None:
    torch.manual_seed(0)
    made = causal_lm(vocab_size=500, config=SIZES | {"initializer_range": 0.1})
    for name, weight in made.named_parameters():
        expected = 0.0 if "norm" in name else 0.1
        assert float(weight.detach().std()) == pytest.approx(expected, abs=0.005), name


def test_configs_that_transformers_has_written_are_ours_too() -> None:
    """Older checkpoints hold them; the defaults are those of transformers."""
    theirs = AutoConfig.for_model(**SIZES, vocab_size=V)
    written = json.loads(theirs.to_json_string(use_diff=False))
    written = {key: value for key, value in written.items() if key not in ("architectures", "dtype")}
    written = {key: value for key, value in written.items() if key not in ("_name_or_path", "transformers_version")}
    assert LlamaConfig.fits(written)
    own, read = asdict(LlamaConfig.of({**SIZES, "vocab_size": V})), asdict(LlamaConfig.of(written))
    assert read | {"num_key_value_heads": None, "head_dim": None} == own
    assert read["num_key_value_heads"] == 4 and read["head_dim"] == 8


@pytest.mark.parametrize(
    "other",
    [
        {"hidden_act": "gelu"}, {"attention_bias": True}, {"mlp_bias": True}, {"model_type": "qwen3", "head_dim": 8},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}, {"output_attentions": True},
    ],
)  # fmt: skip
def test_what_it_lacks_is_left_to_transformers(other: dict[str, Any]) -> None:
    assert not isinstance(causal_lm(vocab_size=V, config=SIZES | other), Llama)


def test_an_attention_by_name_is_left_to_transformers() -> None:
    assert not isinstance(causal_lm(vocab_size=V, config=SIZES, attention="eager"), Llama)
