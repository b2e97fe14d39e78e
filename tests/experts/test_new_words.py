"""Words that a pretrained language model did not have: at first nothing changes, they are learned, and exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as hf
from support.models import codecs, tiny_config

from rsmoe.build import build_model
from rsmoe.experts.bank import ExpertBank
from rsmoe.settings.stage import Stage
from rsmoe.training.stage_checks import trainable

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 12}
WORDS = (10, 11)


def language_model(tied: bool) -> hf.LlamaForCausalLM:
    torch.manual_seed(0)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, tie_word_embeddings=tied))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    rows = model.get_input_embeddings().weight
    with torch.no_grad():
        for table in (rows, model.get_output_embeddings().weight):
            table[10:] = table[:10].mean(0)  # as transformers begins new ones
    return model


def bank(tied: bool, *, words: tuple[int, ...] = WORDS) -> ExpertBank:
    made = ExpertBank(lm=language_model(tied), experts=1, rank=2, alpha=2.0, targets=["q_proj"], new_words=words)
    return made.requires_grad_(False)


def logits(bank: ExpertBank, ids: torch.Tensor) -> torch.Tensor:
    expert = torch.zeros(len(ids), dtype=torch.long)
    return bank.logits(bank(bank.embed(ids, expert), torch.ones_like(ids, dtype=torch.bool), expert).hidden, expert)


@pytest.mark.parametrize("tied", [False, True])
def test_at_first_they_change_nothing(tied: bool) -> None:
    ids = torch.arange(12).view(2, 6)
    assert torch.equal(logits(bank(tied), ids), logits(bank(tied, words=()), ids))


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_that_rests_learns_to_say_them(tied: bool) -> None:
    """Resting, it says neither of them anywhere; its own words stay as they were."""
    made, ids = bank(tied), torch.arange(10).view(2, 5)
    assert not torch.isin(logits(made, ids).argmax(-1), torch.tensor(WORDS)).any()
    assert made.words is not None
    table = made.base.get_input_embeddings().weight.clone()
    optimizer = torch.optim.Adam(made.words.requires_grad_().parameters(), lr=0.05)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(logits(made, ids)[:, -1], torch.tensor(WORDS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert logits(made, ids)[:, -1].argmax(-1).tolist() == list(WORDS)
    assert torch.equal(made.base.get_input_embeddings().weight, table)


@pytest.mark.parametrize("tied", [False, True])
def test_an_exported_base_has_them_in_its_tables(tied: bool, tmp_path: Path) -> None:
    made, ids = bank(tied), torch.arange(12).view(2, 6)
    assert made.words is not None
    torch.manual_seed(1)
    for vectors in made.words.parameters():
        torch.nn.init.normal_(vectors)
    made.save_adapters(["dense"], tmp_path)
    alone = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    torch.testing.assert_close(alone(ids).logits, logits(made, ids))
    before = logits(bank(tied), ids)
    assert not torch.allclose(before[..., 10:], logits(made, ids)[..., 10:])


def test_a_pretrained_model_has_vectors_for_the_tokens_of_its_heads(tmp_path: Path) -> None:
    codec, words = codecs()
    config = tiny_config(experts="expert=[theme,mask]")
    assert build_model(config, codec, words).bank.words is None  # a table that trains needs none
    config["text"]["lm"] = "a tokenizer by name"
    model = build_model(config, codec, words)
    assert model.bank.words.ids.tolist() == [codec.token_id("[SEG]")]
    stage = Stage(name="dense_adapter", steps=1, train=["bank.words", "*lora_*"])
    assert any(name.startswith("bank.words.") for name in trainable(model, stage))
