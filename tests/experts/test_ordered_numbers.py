"""Numbers of a vocabulary that begin on a line."""

from __future__ import annotations

import pytest
import torch
from support.models import tiny_config

from rsmoe.build import build_model, fit_codecs
from rsmoe.errors import UserError
from rsmoe.weights.pretrained import without_weights

TEXTS = [f"box {n} here" for n in range(140)] + ["name the objects how many there are and where", "answer theme state"]


def test_numbers_begin_beside_their_neighbours() -> None:
    """The nearer, the more alike; other words, and the scale of the table, are as without."""
    config = tiny_config("text.ordered_numbers=true", experts="expert=[theme,vqa]")
    codec, words = fit_codecs(config, TEXTS)
    tables = []
    for ordered in (True, False):
        torch.manual_seed(0)
        model = build_model(config | {"text": config["text"] | {"ordered_numbers": ordered}}, codec, words)
        tables.append(model.bank.embed(torch.arange(codec.vocab_size)[None], torch.zeros(1, dtype=torch.long))[0])
    table, plain = tables
    rows = [codec.vocabulary()[str(n)] for n in range(128)]
    line = torch.nn.functional.normalize(table[rows], dim=-1)
    alike = line @ line.T
    for n in (10, 50, 100):
        near = [float(alike[n, n + step]) for step in (0, 1, 2, 4)]
        assert near == sorted(near, reverse=True) and near[1] > 0.8
    others = [i for i in range(codec.vocab_size) if i not in rows]
    assert torch.equal(table[others], plain[others]) and not torch.equal(table[rows], plain[rows])
    assert float(table[rows].std() / plain[rows].std()) == pytest.approx(1, abs=0.2)


def test_a_model_without_weights_is_built() -> None:
    """As every checkpoint is loaded: its numbers are in the file."""
    config = tiny_config("text.ordered_numbers=true", experts="expert=[theme,vqa]")
    with without_weights():
        model = build_model(config, *fit_codecs(config, TEXTS))
    assert next(model.bank.parameters()).is_meta


def test_a_pretrained_language_model_keeps_its_numbers() -> None:
    config = tiny_config("text.ordered_numbers=true", experts="expert=[theme,vqa]")
    codec, words = fit_codecs(config, TEXTS)
    with pytest.raises(UserError, match="from random weights"):
        build_model(config | {"text": config["text"] | {"lm": "gpt2"}}, codec, words)
