"""RS-CapRet on small checkpoints and small releases of its four sets: what trains, what rests, what is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers as hf
from support.clip_words import TEXT
from support.composed import plain, run
from support.release_captions import karpathy, nwpu

from rsmoe.build import load_run
from rsmoe.config import compose
from rsmoe.data.text_codec import TextCodec
from rsmoe.qformer.linear_tokens import LinearTokens
from rsmoe.temporal.memory import VisualMemory
from rsmoe.training.checkpoints import load_checkpoint

SEES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
SEES |= {"image_size": 32, "patch_size": 8}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP and a language model with its tokenizer, and the four sets."""
    home = tmp_path_factory.mktemp("capret")
    torch.manual_seed(0)
    hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=SEES, projection_dim=8)).save_pretrained(home / "clip")
    texts = ["image 0 is a field .", "a road in the north of it", "raw of airplane sea ice 1 2 3 4 _ . / jpg"]
    words = TextCodec.fit([*texts, "describe this image in one sentence . embed for retrieval"])
    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    lm = hf.LlamaForCausalLM(hf.LlamaConfig(**small, vocab_size=words.vocab_size, max_position_embeddings=256))
    lm.save_pretrained(home / "llama")
    words.tokenizer.save_pretrained(home / "llama")
    for name, images in (("ucm_captions", "images"), ("sydney_captions", "images"), ("rsicd", "RSICD_images")):
        file = f"dataset_{name.partition('_')[0]}.json"
        karpathy(home / f"data/{name}", ("train", "train", "val", "test"), file=file, images=images)
    nwpu(home / "data/nwpu_captions")
    return home


def test_the_two_losses_weigh_the_same_and_little_trains() -> None:
    config = plain(compose(["experiment=rs_capret", "data.root=/data"]))
    (stage,) = config["stage"].values()
    assert stage["losses"] == {"text": 1.0, "retrieval": 1.0} and stage["train"] == [
        "qformer",
        "to_lm",
        "bank.words",
        "experts",
    ]
    assert config["lm"]["pretrained"] == "meta-llama/Llama-2-7b-hf" and config["moe"]["adapters"] == 1
    assert (config["vision"]["select_layer"], config["vision"]["keep_prefix"]) == (None, True)
    assert config["image_size"] == 224 and not config["bypass"] and not config["maps"]


def test_image_tokens_are_one_linear_map_of_the_class_token() -> None:
    torch.manual_seed(0)
    module = LinearTokens(memory_width=6, vocab_size=9, width=4, queries=3)
    memory = VisualMemory(tokens=torch.randn(2, 5, 6), mask=torch.ones(2, 5, dtype=torch.bool))
    memory.mask[1, 0] = False  # the first that is there
    found = module(memory, torch.zeros(2, 1, dtype=torch.long), torch.ones(2, 1, dtype=torch.bool))
    for row, place in ((0, 0), (1, 1)):
        x = memory.tokens[row, place]
        x = (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()
        expected = torch.stack([module.project.weight[4 * i : 4 * i + 4] @ x + module.project.bias[4 * i : 4 * i + 4]
                                for i in range(3)])  # fmt: skip
        torch.testing.assert_close(found[row], expected, atol=1e-6, rtol=1e-5)


def test_it_trains_between_a_tower_and_a_language_model_that_rest(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "experiment=rs_capret", f"data.root={home / 'data'}", f"vision.pretrained={home / 'clip'}", "~vision.config",
        f"lm.pretrained={home / 'llama'}", "lm.config=null", "lm.dtype=float32", "qformer.width=16",
        "qformer.queries=2",
        "stage.frozen_lm.steps=40", "stage.frozen_lm.batch_size=6", "stage.frozen_lm.warmup=0",
        "stage.frozen_lm.lr=1e-2", "evaluation.limit=2", "evaluation.max_new=3", "evaluation.beams=1",
        "corpus.nwpu.splits.test=val", "corpus.nwpu_texts.splits.test=val", # the tiny release has no other
    ]  # fmt: skip
    config = plain(compose(words))
    assert config["image_size"] == 32
    results = run(config, tmp_path, monkeypatch)
    names = {row["metric"] for row in results}
    assert {"caption/cider_d", "retrieval/mr"} <= names
    answers = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert all("[RET]" in answer["text"] for answer in answers if answer["task"] == "retrieval")
    saved = load_checkpoint(tmp_path / "run")
    model = load_run(saved)[0]
    state = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    theirs = hf.LlamaForCausalLM.from_pretrained(home / "llama").state_dict()
    for name, value in theirs.items():
        assert torch.equal(state[f"bank.lm.{name}"][: len(value)], value), name
    assert not any("lora_B" in name and bool(value.any()) for name, value in state.items())
    trained = {name.removeprefix("model.").split(".")[0] for name in saved["state_dict"]}
    assert {"qformer", "to_lm", "experts"} <= trained and "vision" not in trained
    assert bool(model.bank.words.embedding.any())
    assert model.experts[1].logit_scale.item() != pytest.approx(2.6593, abs=1e-4)
