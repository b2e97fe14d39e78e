"""A public dual encoder goes on training: it begins as itself, in every way of tuning, and leaves as itself again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support.clip_words import SCENES, TEXT, clip_tokenizer
from support.release_web_pairs import rs5m, skyscript
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from rsmoe.cli.check import checked
from rsmoe.commands import export
from rsmoe.commands.contrast import contrast
from rsmoe.config import compose
from rsmoe.contrast.build import build_dual, fit_codec, text_tokens
from rsmoe.contrast.open_dual import open_dual
from rsmoe.contrast.pairs import Pairs
from rsmoe.contrast.pretrained_head import PretrainedHead
from rsmoe.errors import UserError
from rsmoe.training.checkpoints import load_checkpoint
from rsmoe.training.freeze import set_trainable
from rsmoe.vision.pretrained_tower import PretrainedTower

SEEN = {
    "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip
COMMON = ("recipe=clip_finetune", "~vision.config", "benchmark=[]", "trainer=cpu", "logger=csv", "draws=0", "part=3")


ADAPTERS = tuple(
    f"{tower}.{kind}" for tower in ("vision", "text_tower") for kind in ("lora={rank: 2}", "bottleneck={width: 4}")
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    home = tmp_path_factory.mktemp("public")
    CLIPModel(CLIPConfig(text_config=TEXT, vision_config=SEEN, projection_dim=20)).save_pretrained(home / "clip")
    text = TEXT | {"hidden_size": 24, "projection_size": 24}
    SiglipModel(SiglipConfig(text_config=text, vision_config=SEEN)).save_pretrained(home / "siglip")
    for kind in ("clip", "siglip"):
        clip_tokenizer().save_pretrained(home / kind)
    return {kind: home / kind for kind in ("clip", "siglip")}


def config_of(folder: Path, *words: str) -> dict[str, Any]:
    given = compose([*COMMON, f"vision.pretrained={folder}", *words], name="contrast")
    config: dict[str, Any] = OmegaConf.to_container(given, resolve=True)  # type: ignore[assignment]
    return config


def embedded(model: Any, tokens: Any, *, grad: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    with torch.set_grad_enabled(grad):
        return model.embed_images(torch.randn(3, 3, 16, 16)), model.embed_texts(*tokens(["w3 w4", "w5 w6 w7"]))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("adapters", [(), ADAPTERS])
def test_before_the_first_step_it_is_the_checkpoint(
    kind: str, adapters: tuple[str, ...], folders: dict[str, Path]
) -> None:
    config = config_of(folders[kind], *adapters)
    opened = open_dual(folders[kind], device="cpu")
    built = build_dual(config, fit_codec(config, [])).eval()
    for ours, theirs in zip(embedded(built, opened.tokens), embedded(opened.model, opened.tokens), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


WAYS = {
    "whole": (["*"], (), {"vision.tower", "image.norm", "image.project", "text.tower", "text.out", "loss.logit_scale"}),
    "last block": (["*", "-vision", "-text", "vision.tower.*layers[-1:]"], (), {
        "vision.tower.encoder.layers.1", "image.norm", "image.project", "loss.logit_scale"}),
    "lora": (["*lora_*"], ("vision.lora={rank: 2}", "text_tower.lora={rank: 2}"), {"lora_A", "lora_B"}),
    "pfeiffer": (["*adapter_*"], ("vision.bottleneck={width: 4}",), {"fc2.adapter"}),
    "houlsby": (["*adapter_*"], ("vision.bottleneck={width: 4, targets: [out_proj, fc2]}",), {
        "out_proj.adapter", "fc2.adapter"}),
    "prefix": (["*prefix_*"], ("vision.prefix=3", "text_tower.prefix=2"), {
        "self_attn.prefix_key", "self_attn.prefix_value"}),
    "linear probe": (["image.project", "text.out"], (), {"image.project", "text.out"}),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_what_is_named_trains_and_nothing_else(way: str, folders: dict[str, Path]) -> None:
    patterns, adapters, expected = WAYS[way]
    config = config_of(folders["clip"], *adapters)
    model = build_dual(config, codec := fit_codec(config, []))
    set_trainable(model, patterns)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):  # B of an adapter is zero at first, so that A moves in the second step
        images, texts = embedded(model, text_tokens(model, codec), grad=True)
        optimizer.zero_grad()
        ones = torch.eye(2, dtype=torch.bool)
        model.loss(Pairs(images=images[:2], texts=texts, all_images=images[:2], all_texts=texts,
                         texts_of_image=ones, images_of_text=ones)).backward()  # fmt: skip
        optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(any(part in name for part in expected) for name in moved)
    for part in expected:
        assert any(part in name for name in moved), part


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_run_leaves_as_a_folder_of_transformers(
    kind: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["vision.lora={rank: 2}", 'stage.train=["*",-vision,"*lora_*"]']
    words += ["pair_loss=siglip"] if kind == "siglip" else []
    config = config_of(folders[kind], *SCENES, *words)
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    contrast(config, run)
    monkeypatch.setattr(sys, "argv", ["export", f"checkpoint={run}", f"out={out}"])
    export.cli()
    ours, theirs = open_dual(run, device="cpu"), open_dual(out, device="cpu")
    old = embedded(open_dual(folders[kind], device="cpu").model, ours.tokens)
    pairs = zip(embedded(ours.model, ours.tokens), embedded(theirs.model, theirs.tokens), old, strict=True)
    for run_s, folder_s, base_s in pairs:
        torch.testing.assert_close(run_s, folder_s, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(run_s, base_s, atol=1e-3), "it has learned nothing"
    assert theirs.collate.transform.mean == ours.collate.transform.mean and theirs.collate.transform.size == 16
    tower = PretrainedTower(pretrained=str(out)).eval()  # vision.pretrained=<out>
    with torch.no_grad():
        assert tower(torch.randn(1, 3, 16, 16)).tokens.shape == (1, 5 if kind == "clip" else 4, 24)


@pytest.mark.parametrize(("recipe", "release"), [("skyclip", skyscript), ("georsclip", rs5m)])
def test_the_published_recipes_run_on_their_releases(
    recipe: str, release: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    words = [
        f"recipe={recipe}",
        f"vision.pretrained={folders['clip']}",
        "~vision.config",
        "benchmark=[]",
        "trainer=cpu",
    ]
    given = compose([*words, "stage.steps=1", "stage.batch_size=2", "stage.warmup=0", "draws=0"], name="contrast")
    config: Any = OmegaConf.to_container(given, resolve=True)
    (source,) = config["corpus"]
    config["corpus"][source]["reader"]["root"] = str(release(tmp_path / "data"))
    run = tmp_path / "run"
    run.mkdir()
    contrast(config, run)
    found = load_checkpoint(run)["state_dict"]
    assert found["model.loss.logit_scale"].item() == pytest.approx(4.605, abs=1e-3)  # 100, where CLIP's is cut


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vision.select_layer=-2"], "vision.select_layer=null vision.keep_prefix=true"),
        (["vision=clip_vit_l14"], "vision.select_layer=null vision.keep_prefix=true"),
        (["vision=clip_rn50"], r"give vision.pretrained=\.\.\."),
        (["vision=resnet_tiny", "text_tower.pretrained=x"], "image_head=pretrained stands behind the last block"),
    ],
)
def test_a_head_stands_behind_its_own_tower(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked("contrast", ["recipe=clip_finetune", *words])


def test_heads_towers_and_adapters_that_do_not_fit(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"its tower has 24 channels, vision= has 12; name the same checkpoint"):
        PretrainedHead(width=12, pretrained=str(folders["clip"]))
    with pytest.raises(UserError, match=r"text_tower.lora.targets=\['query'\]: no linear layer's name ends with"):
        config = config_of(folders["clip"], "text_tower.lora={rank: 2, targets: [query]}")
        build_dual(config, fit_codec(config, []))
    config = config_of(folders["clip"], *SCENES, "vision.bottleneck={width: 4}")
    (tmp_path / "run").mkdir()
    contrast(config, tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["export", f"checkpoint={tmp_path / 'run'}", f"out={tmp_path / 'out'}"])
    with pytest.raises(SystemExit, match="bottleneck adapters and prefixes have no place in a CLIP folder"):
        export.cli()
