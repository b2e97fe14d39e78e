"""Runs with pretrained parts: asked again exactly, with no copy of what nobody trained, from wherever it is by now."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from support.models import requests, tiny_config
from support.runs import TRAINER, Killed, Listed, equal

from rsmoe.build import build_model, load_run
from rsmoe.data.collate import Collate
from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.evaluation.run_facts import run_facts
from rsmoe.experts.bank import ExpertBank
from rsmoe.experts.language_model import causal_lm
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.checkpoints import load_checkpoint
from rsmoe.training.module import StageModule
from rsmoe.training.run import run_stages
from rsmoe.training.sources import check_sources
from rsmoe.training.start import start_from
from rsmoe.vision.pretrained_tower import PretrainedTower
from rsmoe.weights.bases import LeftOut
from rsmoe.weights.clip_resnet import ClipResNetConfig, ClipResNetModel
from rsmoe.weights.pretrained import check_weights, without_weights

SPECIAL = ("[RET]", "[SEG]")
ADAPTERS = ("*lora_*", "router", "to_lm", "prompts", "experts")
STAGE = Stage(name="learn", steps=2, train=ADAPTERS, batch_size=6, warmup=1, losses={"text": 1.0, "label": 0.5})
SEES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
SEES |= {"image_size": 32, "patch_size": 8}
TALKS = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
TALKS |= {"max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
FAST = {"rope_type": "default", "rope_theta": 1e6}
QFORMER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as people publish them, with random weights: language models bring their tokenizer."""
    home = tmp_path_factory.mktemp("published")
    texts = [t for s in requests() for t in (s.instruction, *s.responses)]
    words = TextCodec.fit([*texts, "name the objects how many there are and where state theme answer in few words"])
    small = TALKS | {"vocab_size": 30}
    talks = TALKS | {"vocab_size": words.vocab_size}
    reads = QFORMER | {"vocab_size": words.vocab_size, "max_position_embeddings": 128, "encoder_hidden_size": 16}
    inner = {"vision_config": SEES | {"hidden_act": "relu"}, "text_config": {"model_type": "llama", **small}}
    odd = {"hidden_act": "relu", "rms_norm_eps": 1e-3, "rope_parameters": FAST}
    pair = {"text_config": small, "vision_config": SEES | {"hidden_act": "relu", "layer_norm_eps": 1e-2}}
    made = {
        "llama": hf.LlamaForCausalLM(hf.LlamaConfig(**talks, **odd)),
        "qwen2": hf.Qwen2ForCausalLM(hf.Qwen2Config(**talks, tie_word_embeddings=True, num_key_value_heads=1)),
        "qwen3": hf.Qwen3ForCausalLM(hf.Qwen3Config(**talks, head_dim=8, num_key_value_heads=2)),
        "clip": hf.CLIPModel(hf.CLIPConfig(**pair, projection_dim=8)),
        "siglip": hf.SiglipModel(hf.SiglipConfig(**pair)),
        "dinov2": hf.Dinov2Model(hf.Dinov2Config(**SEES, hidden_act="relu")),
        "eva": hf.InstructBlipForConditionalGeneration(
            hf.InstructBlipConfig(**inner, qformer_config=reads, num_query_tokens=3)
        ),
        "bert": hf.BertForMaskedLM(hf.BertConfig(**{k: v for k, v in reads.items() if "encoder" not in k})),
    }
    torch.manual_seed(0)
    for name, model in made.items():
        with torch.no_grad():
            for p in model.parameters():
                p.normal_(std=0.3)
        model.save_pretrained(home / name)
        words.tokenizer.save_pretrained(home / name)
    return home


def config_of(home: Path, vision: str, lm: str, *, qformer: str | None = None, **lm_options: Any) -> dict[str, Any]:
    """As ``vision.pretrained=... lm.pretrained=... text.lm=...`` with neither ``vision.config`` nor ``lm.config``."""
    config = tiny_config("temporal.dropout=0.0", experts="expert=[theme,vqa,mask]")
    config["vision"] = {"_target_": "rsmoe.vision.pretrained_tower.PretrainedTower", "pretrained": str(home / vision)}
    config["lm"] = {"_target_": "rsmoe.experts.language_model.causal_lm", "pretrained": str(home / lm), **lm_options}
    config["text"] = {"lm": str(home / lm), "instruction": str(home / "bert")}
    config["qformer"] |= {"max_positions": 128, "init_std": 0.2}
    if qformer:
        config["qformer"][qformer] = str(home / _QFORMERS[qformer])
    return config


_QFORMERS = {"bert": "bert", "instructblip": "eva"}


def codecs_for(config: dict[str, Any]) -> tuple[TextCodec, TextCodec]:
    text = config["text"]
    return TextCodec.from_pretrained(text["lm"], special=SPECIAL), TextCodec.from_pretrained(text["instruction"])


def train(
    folder: Path, config: dict[str, Any], *stages: Stage, resume: Path | None = None, every: int = 100,
    model: RSMoE | None = None,
) -> RSMoE:  # fmt: skip
    codec, words = codecs_for(config)
    torch.manual_seed(config["seed"])
    model = build_model(config, codec, words) if model is None else model
    shape = {"image_size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    samples = [s for s in requests() if s.task in ("caption", "vqa", "mask")]
    data = RSDataModule(train={"hand": Listed(samples)}, codec=codec, instruction_codec=words, seed=3, **shape)  # type: ignore[arg-type]
    hparams = {"config": config, "codec": codec.state(), "instruction_codec": words.state()}
    run_stages(
        model=model, data=data, stages=stages or [STAGE], folder=folder, seed=3, hparams=hparams, trainer=TRAINER,
        logger=None, checkpoint_every=every, resume=resume,
    )  # fmt: skip
    return model


@torch.no_grad()
def asked(model: RSMoE, config: dict[str, Any]) -> list[torch.Tensor]:
    """Everything that comes out of a model."""
    codec, words = codecs_for(config)
    shape = {"image_size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    collate = Collate(codec=codec, instruction_codec=words, **shape)  # type: ignore[arg-type]
    batch = collate([(s, 1) for s in requests() if s.task in ("caption", "vqa", "mask")])
    reading = model.eval().read(batch)
    sight = reading.perception.sight
    answers = model.generate(batch, end_id=codec.eos_id or 0, beams=2, max_new=5)
    ids = torch.tensor([i for answer in answers for i in answer])
    return [sight.memory.tokens, *sight.pyramid, reading.perception.routing.logits, reading.hidden, ids]


def difference(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    assert [x.shape for x in a] == [x.shape for x in b] and all(bool(x.float().std() > 0) for x in a)
    return max(float((x.double() - y.double()).abs().max()) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def slim(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], RSMoE, Path]:
    """Config, model and folder of a run that trained adapters on a Qwen2 that grew by two tokens."""
    config = config_of(home, "clip", "qwen2", dtype="bfloat16")
    folder = tmp_path_factory.mktemp("slim")
    return config, train(folder, config), folder


def held(folder: Path) -> dict[str, torch.Tensor]:
    return {n.removeprefix("model."): t for n, t in load_checkpoint(folder)["state_dict"].items()}


# what comes back


@pytest.mark.parametrize(
    ("vision", "lm", "qformer"),
    [("clip", "llama", None), ("siglip", "qwen3", "bert"), ("dinov2", "qwen2", None), ("eva", "llama", "instructblip")],
)
def test_a_run_is_asked_again_exactly(
    vision: str, lm: str, qformer: str | None, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(home, vision, lm, qformer=qformer)
    model = train(tmp_path, config)
    rebuilt, _, _ = load_run(load_checkpoint(tmp_path))
    assert difference(asked(model, config), asked(rebuilt, config)) == 0.0
    assert equal(model, rebuilt)
    names = set(held(tmp_path))
    assert not any(name.startswith("vision.tower.") for name in names)
    assert {n for n in names if n.startswith("bank.lm.") and "lora" not in n} == {
        n for n in model.state_dict() if n.endswith(("embed_tokens.weight", "lm_head.weight"))
    }, "of the tables, the rows of the special tokens"
    assert any(n.startswith("qformer.layers.0.attention") for n in names) == (qformer is None)
    assert all(f"{home / name} (" in capsys.readouterr().out for name in [lm])


@pytest.mark.parametrize("trained", [False, True])
def test_a_run_on_the_resnet_of_clip_is_asked_again_exactly(trained: bool, home: Path, tmp_path: Path) -> None:
    sizes = {"width": 8, "layers": [1, 1, 1, 1], "image_size": 32}
    text = {"hidden_size": 16, "num_attention_heads": 2, "vocab_size": 40, "eos_token_id": 1}
    ClipResNetModel(ClipResNetConfig(text_config=text, vision_config=sizes)).save_pretrained(tmp_path / "clip")
    config = config_of(home, "clip", "llama")
    config["vision"] = {"_target_": "rsmoe.vision.clip_resnet.ClipResNet", "config": sizes}
    config["vision"]["pretrained"] = str(tmp_path / "clip")
    stage = replace(STAGE, train=(*ADAPTERS, *(["vision"] if trained else [])))
    model = train(tmp_path / "run", config, stage)
    rebuilt, _, _ = load_run(load_checkpoint(tmp_path / "run"))
    assert difference(asked(model, config), asked(rebuilt, config)) == 0.0
    assert any(name.startswith("vision.") for name in held(tmp_path / "run")) is trained


def test_rows_of_new_tokens_are_kept_and_tied_tables_stay_tied(slim: tuple[dict[str, Any], RSMoE, Path]) -> None:
    _, model, folder = slim
    state = held(folder)
    assert len(state["bank.lm.model.embed_tokens.weight"]) == len(SPECIAL)
    rebuilt, _, _ = load_run(load_checkpoint(folder))
    assert rebuilt.bank.lm.lm_head.weight is rebuilt.bank.lm.model.embed_tokens.weight
    assert rebuilt.bank.lm.model.embed_tokens.weight.dtype == torch.bfloat16
    assert equal(model, rebuilt)


def test_what_is_trained_is_in_the_file(home: Path, tmp_path: Path) -> None:
    """All of the language model with its yaml's numbers left alone, and the last block of a tower."""
    config = config_of(home, "dinov2", "llama")
    config["lm"]["config"] = tiny_config()["lm"]["config"]
    stages = [replace(STAGE, train=["bank", "vision.tower.encoder.layer[-1]"]), replace(STAGE, name="later")]
    model = train(tmp_path, config, *stages)
    rebuilt, _, _ = load_run(load_checkpoint(tmp_path))
    assert difference(asked(model, config), asked(rebuilt, config)) == 0.0
    names = set(held(tmp_path))
    assert {n for n in model.state_dict() if n.startswith("bank.")} <= names
    inside = {n.split(".")[4] for n in names if n.startswith("vision.tower.encoder.layer.")}
    assert inside == {"1"}
    assert config["lm"]["config"] == tiny_config()["lm"]["config"]


@pytest.mark.parametrize("vision", ["clip", "dinov2"])
def test_adapters_of_a_tower_are_in_the_file_and_the_tower_is_not(vision: str, home: Path, tmp_path: Path) -> None:
    config = config_of(home, vision, "llama")
    config["vision"]["lora"] = {"rank": 2}
    model = train(tmp_path, config)  # "*lora_*" trains them
    rebuilt, _, _ = load_run(load_checkpoint(tmp_path))
    assert difference(asked(model, config), asked(rebuilt, config)) == 0.0
    inside = {n for n in held(tmp_path) if n.startswith("vision.tower.")}
    assert inside and all("lora_" in n for n in inside)
    moved = [t for n, t in held(tmp_path).items() if n.startswith("vision.tower.") and "lora_B" in n]
    assert all(bool(t.abs().max() > 0) for t in moved), "they were zero"


def test_files_do_not_grow_with_the_base(home: Path, tmp_path: Path) -> None:
    sizes = []
    for layers in (1, 6):
        folder = tmp_path / str(layers)
        lm = hf.LlamaForCausalLM(hf.LlamaConfig(**(TALKS | {"num_hidden_layers": layers, "vocab_size": 4000})))
        lm.save_pretrained(folder / "lm")
        shutil.copy(home / "llama" / "tokenizer.json", folder / "lm")
        shutil.copy(home / "llama" / "tokenizer_config.json", folder / "lm")
        config = config_of(home, "clip", "llama")
        config["lm"]["pretrained"] = str(folder / "lm")
        config["bank"]["targets"] = ["q_proj"]
        train(folder, config)
        sizes.append((folder / "checkpoints" / "1-learn.ckpt").stat().st_size)
    base = (tmp_path / "6" / "lm" / "model.safetensors").stat().st_size
    assert sizes[1] - sizes[0] < 0.2 * base and sizes[1] < base


def test_a_killed_run_continues_bit_for_bit(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(home, "dinov2", "qwen2")
    stage = replace(STAGE, steps=4)
    expected = train(tmp_path / "whole", config, stage)
    real = StageModule.training_step

    def step(self: StageModule, *args: Any) -> Any:
        if self.trainer.global_step == 3:
            raise Killed
        return real(self, *args)

    monkeypatch.setattr(StageModule, "training_step", step)
    with pytest.raises(Killed):
        train(tmp_path / "killed", config, stage, every=2)
    monkeypatch.undo()
    kept = load_checkpoint(tmp_path / "killed")["state_dict"]
    assert not any(name.startswith("model.vision.tower.") for name in kept)
    model = train(tmp_path / "resumed", config, stage, resume=tmp_path / "killed")
    assert equal(model, expected)
    assert equal(load_run(load_checkpoint(tmp_path / "resumed"))[0], expected)


def test_a_run_that_starts_from_a_slim_one_has_its_base_too(
    slim: tuple[dict[str, Any], RSMoE, Path], home: Path, tmp_path: Path
) -> None:
    """Even where the new run names another base: then the old one is in its files."""
    config, model, folder = slim
    other = shutil.copytree(home / "qwen2", tmp_path / "other")
    rewrite(other)
    config = config | {"lm": config["lm"] | {"pretrained": str(other)}}
    torch.manual_seed(7)
    codec, words = codecs_for(config)
    new = build_model(config, codec, words)
    _, anew = start_from(new, load_checkpoint(folder), codec=codec, instruction_codec=words)
    assert not anew and equal(new, model)
    trained = train(tmp_path / "new", config, model=new)
    assert "bank.lm.model.norm.weight" in held(tmp_path / "new"), "what differs from the other base"
    assert not any(name.startswith("vision.tower.") for name in held(tmp_path / "new"))
    assert equal(load_run(load_checkpoint(tmp_path / "new"))[0], trained)


def test_a_config_in_a_checkpoint_is_left_as_it_is(slim: tuple[dict[str, Any], RSMoE, Path]) -> None:
    config, model, folder = slim
    loaded = load_checkpoint(folder)
    before = json.dumps(loaded["hyper_parameters"], sort_keys=True)
    rebuilt, _, _ = load_run(loaded)
    assert json.dumps(loaded["hyper_parameters"], sort_keys=True) == before
    ours, theirs = run_facts(model, config), run_facts(rebuilt, loaded["hyper_parameters"]["config"])
    assert ours == theirs


# where the base is by now


def rewrite(folder: Path) -> None:
    """Changes one number of the weights in a folder."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[0] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_folder_that_moved_is_told_and_found(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old"
    for name in ("clip", "llama", "bert"):
        shutil.copytree(home / name, old / name)
    config = config_of(old, "clip", "llama")
    model = train(tmp_path / "run", config)
    expected = asked(model, config)
    old.rename(tmp_path / "new")
    with pytest.raises(UserError, match=rf"no folder {old}/clip.*export RSMOE_MOVED={old}/clip=/new/folder"):
        load_run(load_checkpoint(tmp_path / "run"))
    monkeypatch.setenv("RSMOE_MOVED", f"{old}={tmp_path / 'new'}")
    rebuilt, _, _ = load_run(load_checkpoint(tmp_path / "run"))
    assert difference(expected, asked(rebuilt, config)) == 0.0
    resumed = train(tmp_path / "more", config, replace(STAGE, steps=3), resume=tmp_path / "run")
    assert not equal(resumed, model)
    monkeypatch.setenv("RSMOE_MOVED", "nonsense")
    with pytest.raises(UserError, match="RSMOE_MOVED=nonsense: expected old=new"):
        load_run(load_checkpoint(tmp_path / "run"))


def test_other_weights_of_the_same_name_are_refused_with_both_hashes(home: Path, tmp_path: Path) -> None:
    for name in ("clip", "llama", "bert"):
        shutil.copytree(home / name, tmp_path / name)
    config = config_of(tmp_path, "clip", "llama")
    train(tmp_path / "run", config)
    (base,) = [b for b in LeftOut.from_checkpoint(load_checkpoint(tmp_path / "run")) if b.part == "bank.lm"]
    rewrite(tmp_path / "llama")
    with pytest.raises(UserError, match=rf"other weights.*sha256 \w{{64}} there, {base.sha256} in the checkpoint"):
        load_run(load_checkpoint(tmp_path / "run"))
    with pytest.raises(UserError, match="other weights"):
        train(tmp_path / "again", config, replace(STAGE, steps=3), resume=tmp_path / "run")


def test_the_same_weights_in_other_files_are_the_same(home: Path, tmp_path: Path) -> None:
    whole = hf.AutoModelForCausalLM.from_pretrained(home / "llama")
    whole.save_pretrained(tmp_path / "shards", max_shard_size="5KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    torch.save(whole.state_dict(), tmp_path / "pickled.bin")
    (tmp_path / "bin").mkdir()
    (tmp_path / "pickled.bin").rename(tmp_path / "bin" / "pytorch_model.bin")
    shutil.copy(home / "llama" / "config.json", tmp_path / "bin")
    hashes = {causal_lm(vocab_size=9, pretrained=str(f)).loaded_base.sha256 for f in (home / "llama", *_dirs(tmp_path))}  # type: ignore[attr-defined]
    assert len(hashes) == 1


def _dirs(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir()]


def test_a_resumed_run_must_have_the_base(slim: tuple[dict[str, Any], RSMoE, Path], home: Path, tmp_path: Path) -> None:
    config, _, folder = slim
    scratch = {"pretrained": None, "config": {"model_type": "qwen2", **TALKS, "num_key_value_heads": 1}}
    with pytest.raises(UserError, match=r"no copy of the frozen weights of bank\.lm.*give the same lm\.pretrained"):
        train(tmp_path, config | {"lm": config["lm"] | scratch}, resume=folder)


@pytest.mark.parametrize("bases", [3, [{}], [{"part": 1}], "x", [{"part": "a", "tensors": {"b": 1}}]])
def test_nonsense_about_bases_is_refused(bases: Any, slim: tuple[dict[str, Any], RSMoE, Path]) -> None:
    with pytest.raises(UserError, match="does not say what its pretrained weights are|bases="):
        load_run(load_checkpoint(slim[2]) | {"bases": bases})


# adapters


@pytest.mark.parametrize(("lm", "tuned"), [("llama", False), ("llama", True), ("qwen2", True)])
def test_an_adapter_names_the_base_it_was_trained_on(lm: str, tuned: bool, home: Path, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    model = causal_lm(vocab_size=9, pretrained=str(home / lm))
    bank = ExpertBank(lm=model, experts=2, rank=2, alpha=4, targets=["q_proj", "down_proj"]).eval()
    with torch.no_grad():
        for name, p in bank.named_parameters():
            if "lora" in name or tuned:
                p.add_(0.2 * torch.randn_like(p))
    bank.save_adapter(1, tmp_path / "vqa")
    named = json.loads((tmp_path / "vqa" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == (str(tmp_path / "vqa-base") if tuned else str(home / lm))
    ids, expert = torch.arange(12).view(2, 6), torch.ones(2, dtype=torch.long)
    with torch.no_grad():
        theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "vqa").eval()(input_ids=ids).logits
        states = bank(bank.embed(ids, expert), torch.ones_like(ids).bool(), expert).hidden
        torch.testing.assert_close(bank.logits(states, expert), theirs, atol=1e-5, rtol=1e-5)


def test_a_base_with_new_tokens_is_not_the_published_one(home: Path, tmp_path: Path) -> None:
    model = causal_lm(vocab_size=900, pretrained=str(home / "qwen2"))
    bank = ExpertBank(lm=model, experts=1, rank=2, alpha=4, targets=["q_proj"])
    bank.save_adapter(0, tmp_path / "a", base=tmp_path / "shared")
    assert hf.AutoConfig.from_pretrained(tmp_path / "shared").vocab_size == 900
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "shared"]


# built without numbers


def test_a_model_without_weights_has_its_buffers(home: Path) -> None:
    config = tiny_config("temporal=semantic", "maps=[change]", "bypass=grid", "prompts=template")
    codec, words = codecs_for(config_of(home, "clip", "llama"))
    torch.manual_seed(0)
    real = build_model(config, codec, words)
    state = torch.get_rng_state()
    with without_weights():
        empty = build_model(config, codec, words)
    assert all(p.is_meta for p in empty.parameters())
    buffers = dict(real.named_buffers())
    assert {n.split(".")[-1] for n in buffers} >= {"serves_task", "places", "frequency"}
    assert all(torch.equal(value, buffers[name]) for name, value in empty.named_buffers())
    assert all(not p.is_meta for p in build_model(config, codec, words).parameters())
    assert [p.shape for p in real.parameters()] == [p.shape for p in empty.parameters()]
    assert state.numel()


# before the work


def test_sources_are_looked_at_first(home: Path, slim: tuple[dict[str, Any], RSMoE, Path], tmp_path: Path) -> None:
    config = config_of(home, "clip", "llama") | {"resume": None, "start": None}
    check_sources(config)
    check_sources(config | {"resume": str(slim[2])})
    (tmp_path / "bare").mkdir()
    shutil.copytree(home / "llama", tmp_path / "light", ignore=shutil.ignore_patterns("*.safetensors"))
    for key, value, message in [
        ("resume", tmp_path / "nothing", "resume=.*no checkpoint at"),
        ("start", tmp_path, "start=.*no checkpoint in"),
        ("vision.pretrained", tmp_path / "bare", "vision.pretrained=.*config.json"),
        ("vision.pretrained", home / "llama", "unknown kind of vision tower 'llama'"),
        ("lm.pretrained", "nobody/nothing", "lm.pretrained=nobody/nothing.*hf download nobody/nothing"),
        ("lm.pretrained", tmp_path / "light", "lm.pretrained=.*no weights"),
        ("qformer.bert", tmp_path / "gone", "qformer.bert=.*no folder"),
        ("text.lm", tmp_path / "bare", "text.lm=.*tokenizer"),
        ("lm.attention", "flash_attention_2", r"pip install 'rsmoe\[flash\]'"),
    ]:
        group, _, leaf = key.partition(".")
        changed = config | ({group: config[group] | {leaf: str(value)}} if leaf else {key: str(value)})
        with pytest.raises(UserError, match=message) as told:
            check_sources(changed)
        assert "\n" not in str(told.value)


def test_without_network_a_name_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client would try again for half a minute."""
    from huggingface_hub import constants

    import rsmoe.weights.pretrained as pretrained

    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(pretrained, "_answers", lambda: asked.append(1) is not None)
    with pytest.raises(UserError, match="hf download nobody/nothing"):
        check_weights("nobody/nothing")
    assert asked


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "garbage": (lambda f: (f / "model.safetensors").write_bytes(b"garbage" * 99), "a damaged file"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "a damaged file"),
    "half": (lambda f: os.truncate(f / "model.safetensors", 4000), "a damaged file"),
    "absent": (lambda f: os.remove(f / "model.safetensors"), "no file named model.safetensors"),
    "no config": (lambda f: os.remove(f / "config.json"), "model_type"),
    "config of a list": (lambda f: (f / "config.json").write_text("[1]"), "cannot load"),
    "config of words": (lambda f: (f / "config.json").write_text("{no"), "not a valid JSON"),
    "deeper": (lambda f: edit(f, num_hidden_layers=3), "lacks 9 weights of LlamaForCausalLM"),
    "wider": (lambda f: edit(f, intermediate_size=48), "other shapes than its config.json says"),
    "typed": (lambda f: edit(f, hidden_size="many"), "hidden_size.*expected int"),
    "unknown": (lambda f: edit(f, model_type="nonsense"), "nonsense"),
    "own code": (lambda f: edit(f, model_type="x", auto_map={"AutoConfig": "x.Y"}), "cannot load"),
}


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_with_a_folder_is_one_line(kind: str, home: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(home / "llama", tmp_path / "llama")
    change, message = BROKEN[kind]
    change(folder)
    with pytest.raises(UserError, match=message) as told:
        causal_lm(vocab_size=9, pretrained=str(folder))
    assert "\n" not in str(told.value) and str(folder) in str(told.value)


def test_a_missing_shard_is_named_before_anything_is_built(home: Path, tmp_path: Path) -> None:
    hf.AutoModelForCausalLM.from_pretrained(home / "llama").save_pretrained(tmp_path, max_shard_size="5KB")
    check_weights(str(tmp_path))
    lost = sorted(tmp_path.glob("*.safetensors"))[1]
    lost.unlink()
    for attempt in (check_weights, lambda folder: causal_lm(vocab_size=9, pretrained=folder)):
        with pytest.raises(UserError, match=lost.name):
            attempt(str(tmp_path))


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("proof-that-code-ran",)


def test_weights_run_no_code(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(home / "llama" / "config.json", tmp_path)
    torch.save({"model.norm.weight": _Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="holds code, which is not run"):
        causal_lm(vocab_size=9, pretrained=str(tmp_path))
    assert not (tmp_path / "proof-that-code-ran").exists()


def test_wrong_architectures_are_named(home: Path) -> None:
    with pytest.raises(UserError, match="is a bert, which reads in both directions"):
        causal_lm(vocab_size=9, pretrained=str(home / "bert"))
    with pytest.raises(UserError, match="cannot load"):
        causal_lm(vocab_size=9, pretrained=str(home / "clip"))
    with pytest.raises(UserError, match="unknown kind of vision tower 'llama'"):
        PretrainedTower(pretrained=str(home / "llama"))
    with pytest.raises(UserError, match=r"pip install 'rsmoe\[flash\]'"):
        causal_lm(vocab_size=9, pretrained=str(home / "llama"), attention="flash_attention_2")


def test_a_bert_of_another_activation_is_refused(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "bert", tmp_path, dirs_exist_ok=True)
    edit(tmp_path, hidden_act="relu")
    config = config_of(home, "clip", "llama", qformer="bert")
    config["qformer"]["bert"] = str(tmp_path)
    with pytest.raises(UserError, match="hidden_act=relu.*hidden_act=gelu"):
        build_model(config, *codecs_for(config))


def test_a_name_on_the_hub_is_asked_for_again_by_its_commit(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of a cache as the hub's client makes it; nothing is fetched to open a checkpoint."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    first, second = "a" * 40, "b" * 40
    for name in ("llama", "clip"):
        folder = tmp_path / "cache" / f"models--org--{name}"
        shutil.copytree(home / name, folder / "snapshots" / first)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(first)
    config = config_of(home, "clip", "llama")
    config["vision"]["pretrained"], config["lm"]["pretrained"] = "org/clip", "org/llama"
    model = train(tmp_path / "run", config)
    llama = tmp_path / "cache" / "models--org--llama"
    rewrite(shutil.copytree(llama / "snapshots" / first, llama / "snapshots" / second))
    (llama / "refs" / "main").write_text(second)
    assert equal(load_run(load_checkpoint(tmp_path / "run"))[0], model)
    (llama / "snapshots" / first).rename(tmp_path / "away")
    with pytest.raises(UserError, match=f"opening a checkpoint fetches nothing.*org/llama --revision {first}"):
        load_run(load_checkpoint(tmp_path / "run"))
    monkeypatch.setenv("RSMOE_MOVED", f"org/llama={tmp_path / 'away'}")
    assert equal(load_run(load_checkpoint(tmp_path / "run"))[0], model)
