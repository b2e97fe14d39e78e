"""Pretrained models: what rests and what trains, which numbers follow the checkpoints, and which dial wins."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from omegaconf import OmegaConf
from support.composed import Words, plain
from support.composed import run as run_config

from rsmoe.build import build_model, fit_codecs, load_run
from rsmoe.config import compose, conf_dir
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.run import load_checkpoint
from rsmoe.training.stage_checks import fitted, trainable
from rsmoe.weights.vocabularies import check_vocabularies

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
CLIP_MEAN, IMAGENET_MEAN = [0.48145466, 0.4578275, 0.40821073], [0.485, 0.456, 0.406]
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def trained_parts(model: RSMoE, stage: dict[str, Any]) -> dict[str, torch.nn.Parameter]:
    names = trainable(model, fitted(model, Stage.from_config(stage)))
    own = dict(model.named_parameters())
    return {name: own[name] for name in names}


@cache
def recipe() -> dict[str, Any]:
    return plain(compose(["model=rsmoe_1b"]))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_model_dial_wins_over_every_experiment(experiment: str) -> None:
    alone = recipe()
    config = plain(compose([f"experiment={experiment}", "model=rsmoe_1b"]))
    for key in ("image_size", "mean", "std", "text", "vision", "qformer", "lm", "prompts", "bypass", "maps"):
        assert config[key] == alone[key], key
    stages, theirs = (c["stage"].values() for c in (config, alone))
    assert [s | {"mix": None} for s in stages] == [s | {"mix": None} for s in theirs]
    assert (config["image_size"], config["mean"], config["maps"]) == (224, CLIP_MEAN, {})
    assert config["name"] != alone["name"] and config["corpus"]
    with torch.device("meta"):
        model = build_model(config, Words(128_258), Words(30_523))  # type: ignore[arg-type]
    whole = sum(p.numel() for p in model.parameters())
    for stage, most in zip(stages, (0.12, 0.04), strict=True):  # InstructBLIP's Q-Former: 7.6 %
        trains = trained_parts(model, stage)
        share = sum(p.numel() for p in trains.values()) / whole
        print(f"{experiment}, stage {stage['name']}: {share:.1%} of {whole / 1e6:.0f} M parameters train")
        assert 0.005 < share < most and stage["lr"] == 1e-4
        assert not any(name.startswith("vision.tower") for name in trains)
        assert all("lora_" in name or "bank.words" in name for name in trains if name.startswith("bank."))
        assert any("bank.words" in name for name in trains) == (model.bank.words is not None)  # of heads, [SEG]
        assert ("router.gate.weight" in trains) == (stage["name"] == "expert_adapters" and experiment[-6:] != "_dense")
        assert any(name.startswith("qformer.") for name in trains) == (stage["name"] == "dense_adapter")


@pytest.mark.parametrize("name", ["rsmoe_1b", "rsmoe_3b", "rsmoe_7b"])
def test_every_paper_size_selects_the_recipe(name: str) -> None:
    config = plain(compose([f"model={name}"]))
    assert config["text"]["lm"] == config["lm"]["pretrained"] and config["text"]["instruction"] == "bert-base-uncased"
    assert all(stage["lr"] == 1e-4 and stage["warmup"] > 0 for stage in config["stage"].values())
    # what is typed wins over the dial
    typed = plain(compose([f"model={name}", "schedule=rsmoe_two_stage", "image_size=336", "text.lm=mine"]))
    assert (typed["image_size"], typed["text"]["lm"]) == (336, "mine")
    assert typed["stage"]["dense"]["lr"] == 1e-3


def test_real_rsicap_at_paper_size() -> None:
    config = plain(compose(["experiment=rsicap_pretrained", "data.root=/data"]))
    assert config["lm"]["pretrained"] == "meta-llama/Llama-3.2-1B" and config["data"]["root"] == "/data"
    assert {"captions", "benchmark"} <= set(config["corpus"]) and config["evaluation"]["splits"] == ["test"]
    assert config["name"] == "rsicap_pretrained" and config["maps"] == {}


@pytest.mark.parametrize(
    ("vision", "size", "mean", "std"),
    [
        ("clip_vit_l14", 224, CLIP_MEAN[0], 0.26862954),
        ("eva_vit_g", 224, CLIP_MEAN[0], 0.26862954),
        ("siglip_base", 224, 0.5, 0.5),
        ("dinov2_base", 224, IMAGENET_MEAN[0], 0.229),
        ("dinov3_vit_l16", 224, 0.430, 0.213),  # its satellite pictures
        ("resnet_tiny", 96, IMAGENET_MEAN[0], 0.229),
    ],
)
def test_pixels_follow_the_tower(vision: str, size: int, mean: float, std: float) -> None:
    for words in ([], ["experiment=rsicap_moe"], ["model=small"]):
        config = plain(compose([*words, f"vision={vision}"]))
        own = {"experiment=rsicap_moe": 64, "model=small": 128}.get(words[0] if words else "", 96)
        assert config["image_size"] == (own if vision == "resnet_tiny" else size)
        assert (config["mean"][0], config["std"][0]) == (mean, std)
    typed = plain(compose([f"vision={vision}", "mean=[0.1,0.2,0.3]", "image_size=448"]))
    assert (typed["mean"], typed["image_size"], typed["std"][0]) == ([0.1, 0.2, 0.3], 448, std)


def test_a_folder_says_how_it_was_trained(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip", "vision_config": {"image_size": 384}}))
    words = ["vision=clip_vit_l14", f"vision.pretrained={tmp_path}", "~vision.config"]
    config = plain(compose(words))
    assert (config["image_size"], config["mean"]) == (384, [0.5] * 3)
    told = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1], "crop_size": {"height": 256, "width": 256}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told | {"size": {"shortest_edge": 288}}))
    config = plain(compose(words))
    assert (config["image_size"], config["mean"], config["std"]) == (256, [0.1, 0.2, 0.3], [1.0] * 3)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(UserError, match=r"preprocessor_config.json is not readable json"):
        compose(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lm=llama_3_2_1b", "text.lm=null"], "text.lm=null fits.*lm.pretrained=meta-llama/Llama-3.2-1B has a table"),
        (["qformer=instruct_bert_base", "text.instruction=null"], "text.instruction=null.*qformer.bert=bert-base"),
        (["prompts=text", "+prompts.lm.pretrained=x"], "text.lm=null fits.*prompts.lm.pretrained=x has a table"),
    ],
)
def test_a_fitted_vocabulary_meets_no_pretrained_table(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit_codecs(plain(compose(words)), ["some words"])


def tokenizer(folder: Path, *first: str) -> Path:
    texts = [*first, "describe the image in detail", "a harbour with two ships", "how many are there ? two", "yes no"]
    TextCodec.fit(texts).tokenizer.save_pretrained(folder)
    return folder


def test_another_tokenizer_than_the_tables_is_refused(tmp_path: Path) -> None:
    own, same, other = (tokenizer(tmp_path / n, *t) for n, t in (("own", ()), ("same", ()), ("other", ("zebra",) * 9)))
    config = plain(compose([f"+lm.pretrained={own}", f"text.lm={same}"]))
    check_vocabularies(config)
    config["text"]["lm"] = str(other)
    with pytest.raises(UserError, match=r"text.lm=\S+other gives '.+' the number \d+, and lm.pretrained=\S+own"):
        check_vocabularies(config)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tower, a language model and a BERT, as people publish them, and small."""
    torch.manual_seed(0)
    home = tmp_path_factory.mktemp("hub")
    t = transformers
    t.SiglipVisionModel(t.SiglipVisionConfig(**SMALL, image_size=32, patch_size=8)).save_pretrained(home / "siglip")
    words = TextCodec.from_pretrained(str(tokenizer(home / "llama"))).vocab_size
    t.LlamaForCausalLM(t.LlamaConfig(**SMALL, vocab_size=words, rope_theta=1e6)).save_pretrained(home / "llama")
    tokenizer(home / "bert")
    t.BertModel(t.BertConfig(**SMALL, vocab_size=words)).save_pretrained(home / "bert")
    return {path.name: path for path in home.iterdir()}


def test_the_recipe_trains_beside_frozen_checkpoints_of_folders(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16 and with accumulation, as on a GPU; weights of the tower and of the base end as they were loaded."""
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    words = [
        "experiment=rsicap_pretrained", "vision=siglip_base", f"vision.pretrained={folders['siglip']}",
        "~vision.config", f"lm.pretrained={folders['llama']}", "lm.config=null", "lm.dtype=float32",
        f"qformer.bert={folders['bert']}", "qformer.instructblip=null", "qformer.width=16", "qformer.layers=2",
        "qformer.heads=2", "qformer.intermediate=32", "qformer.queries=3",
        *(f"stage.{n}.{w}=2" for n in ("dense_adapter", "expert_adapters") for w in ("steps", "batch_size")),
        "stage.dense_adapter.warmup=1", "stage.expert_adapters.warmup=1", "trainer.precision=bf16-mixed",
        "trainer.accumulate_grad_batches=2", "evaluation.limit=2", "evaluation.max_new=3", "evaluation.beams=1",
        "corpus.captions.generated.scenes.train=4", "corpus.questions.generated.scenes.train=4",
        "corpus.benchmark.generated.scenes.test=4",
    ]  # fmt: skip
    config = plain(compose(words))
    assert (config["image_size"], config["mean"]) == (32, [0.5] * 3)
    assert config["text"] == {"lm": str(folders["llama"]), "instruction": str(folders["bert"])}
    results = run_config(config, tmp_path, monkeypatch)
    assert all(row["protocol"].startswith("generated/") for row in results)
    saved = load_checkpoint(tmp_path / "run")
    theirs = transformers.LlamaForCausalLM.from_pretrained(folders["llama"]).state_dict()
    named = [key for key in saved["state_dict"] if key.startswith("model.bank.lm") and "lora" not in key]
    assert all("embed_tokens" in key or "lm_head" in key for key in named)  # whose new rows are in the file
    mine = {f"model.{k}".replace(".base_layer", ""): v for k, v in load_run(saved)[0].state_dict().items()}
    for name, value in theirs.items():
        kept = mine[f"model.bank.lm.{name}"][: len(value)]  # [SEG] and [RET] come behind
        assert torch.equal(kept, value), name
    moved = [v for k, v in saved["state_dict"].items() if k.endswith("lora_B")]
    assert moved and any(bool(v.any()) for v in moved)
    assert OmegaConf.create(saved["hyper_parameters"]["config"]).trainer.precision == "bf16-mixed"
    assert saved["hyper_parameters"]["dialogues"] is True  # a pretrained language model reads earlier turns
