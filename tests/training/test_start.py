"""A run that starts from another one's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.models import FIVE_KINDS, codecs, tiny_config, tiny_model

from rsmoe.build import build_model
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.training.start import start_from

TABLE = "bank.lm.model.embed_tokens.weight"


def checkpoint_of(*overrides: str) -> dict[str, Any]:
    codec, words = codecs()
    state = {f"model.{name}": value for name, value in tiny_model(*overrides).state_dict().items()}
    hparams = {"config": tiny_config(*overrides), "codec": codec.state(), "instruction_codec": words.state()}
    return {"state_dict": state, "hyper_parameters": hparams}


def test_the_same_model_takes_everything_over() -> None:
    codec, words = codecs()
    model = tiny_model(seed=5)
    taken, anew = start_from(model, checkpoint_of(), codec=codec, instruction_codec=words)
    assert not anew and taken == len(model.state_dict())
    source = tiny_model().state_dict()
    assert all(torch.equal(value, source[name]) for name, value in model.state_dict().items())


def test_words_keep_their_vectors_in_another_vocabulary_and_new_parts_begin_anew() -> None:
    special = ("[RET]", "[SEG]")
    codec = TextCodec.fit(["a glacier beside the harbour", "two ships and a glacier"], special=special)
    torch.manual_seed(3)
    model = build_model(tiny_config("temporal=concat", experts=FIVE_KINDS), codec, codec).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    saved = checkpoint_of()
    _, anew = start_from(model, saved, codec=codec, instruction_codec=codec)
    after, old = model.state_dict(), codecs()[0]
    new_id, old_id = codec.token_id("harbour"), old.token_id("harbour")
    assert torch.equal(after[TABLE][new_id], saved["state_dict"][f"model.{TABLE}"][old_id])
    glacier = codec.token_id("glacier")
    assert torch.equal(after[TABLE][glacier], before[TABLE][glacier]), "a word that only the new corpus has"
    vision = [name for name in after if name.startswith("vision.")]
    assert vision and all(torch.equal(after[name], saved["state_dict"][f"model.{name}"]) for name in vision)
    assert any(name.startswith("temporal.") for name in anew) or not any(n.startswith("temporal.") for n in after)
    assert not any(name.startswith("vision.") for name in anew)


@pytest.mark.parametrize(("old", "new", "first"), [((), ("moe.adapters=1",), 0), (("moe.adapters=1",), (), 5)])
def test_one_adapter_begins_as_the_first_of_many_and_many_as_copies_of_one(
    old: tuple[str, ...], new: tuple[str, ...], first: int
) -> None:
    codec, words = codecs()
    model, saved = tiny_model(*new, seed=5), checkpoint_of(*old)
    _, anew = start_from(model, saved, codec=codec, instruction_codec=words)
    assert not any("lora_" in name or name.startswith("prompts.") for name in anew)
    for name in ("prompts.base", *(n for n in model.state_dict() if "lora_" in n)):
        given = saved["state_dict"][f"model.{name}"]
        assert torch.equal(model.state_dict()[name][first], given[0]), name
        assert given[0].any(), name


def test_a_checkpoint_of_which_nothing_fits_is_refused() -> None:
    codec, words = codecs()
    saved = checkpoint_of()
    saved["state_dict"] = {"model.elsewhere": torch.zeros(3)}
    with pytest.raises(UserError, match="no weight of that checkpoint"):
        start_from(tiny_model(), saved, codec=codec, instruction_codec=words)
