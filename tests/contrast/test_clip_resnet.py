"""CLIP with a ResNet: OpenAI's layout, the features of a forward pass in plain torch, and every place that reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support.clip_words import SCENES, clip_tokenizer
from support.open_clip_layout import IDS, archive, text_features
from support.open_clip_layout import layout as vit_layout
from torch import Tensor
from torch.nn import functional as F

from rsmoe.archive.open_embedder import open_embedder
from rsmoe.commands import export
from rsmoe.commands.contrast import contrast
from rsmoe.commands.convert_clip import cli
from rsmoe.config import compose
from rsmoe.contrast.build import build_dual, fit_codec
from rsmoe.contrast.open_dual import open_dual
from rsmoe.errors import UserError
from rsmoe.vision.clip_resnet import ClipResNet
from rsmoe.vision.pretrained_tower import PretrainedTower
from rsmoe.weights.clip_resnet import ClipResNetConfig, ClipResNetModel
from rsmoe.weights.open_clip import read_clip, to_transformers

WIDTH, LAYERS, SIDE, DIM = 8, (1, 2, 2, 1), 2, 24
"""Channels of the stem, blocks, side of the last grid, of embeddings: 64 px, 256 channels, four heads."""
SIZES = {"width": WIDTH, "layers": list(LAYERS), "image_size": 32 * SIDE}


def layout(seed: int = 0) -> dict[str, Tensor]:
    """Random weights by OpenAI's names; the text tower is that of the ViT's test."""
    state = {name: value for name, value in vit_layout(seed).items() if not name.startswith("visual.")}
    torch.manual_seed(seed + 1)

    def conv(name: str, out: int, into: int, kernel: int) -> None:
        state[f"visual.{name}.weight"] = torch.randn(out, into, kernel, kernel) * (2 / (into * kernel**2)) ** 0.5

    def norm(name: str, channels: int) -> None:
        for leaf, value in (("weight", 1 + 0.2 * torch.randn(channels)), ("bias", 0.2 * torch.randn(channels)),
                            ("running_mean", 0.2 * torch.randn(channels)),
                            ("running_var", 0.5 + torch.rand(channels))):  # fmt: skip
            state[f"visual.{name}.{leaf}"] = value
        state[f"visual.{name}.num_batches_tracked"] = torch.tensor(7)

    for i, (out, into) in enumerate([(WIDTH // 2, 3), (WIDTH // 2, WIDTH // 2), (WIDTH, WIDTH // 2)], start=1):
        conv(f"conv{i}", out, into, 3)
        norm(f"bn{i}", out)
    channels = WIDTH
    for stage, depth in enumerate(LAYERS):
        inner = WIDTH * 2**stage
        for block in range(depth):
            home = f"layer{stage + 1}.{block}"
            for i, (out, into, kernel) in enumerate([(inner, channels, 1), (inner, inner, 3), (4 * inner, inner, 1)]):
                conv(f"{home}.conv{i + 1}", out, into, kernel)
                norm(f"{home}.bn{i + 1}", out)
            if block == 0:
                conv(f"{home}.downsample.0", 4 * inner, channels, 1)
                norm(f"{home}.downsample.1", 4 * inner)
            channels = 4 * inner
    state["visual.attnpool.positional_embedding"] = torch.randn(1 + SIDE**2, channels) * 0.2
    for name, out in (("q", channels), ("k", channels), ("v", channels), ("c", DIM)):
        state[f"visual.attnpool.{name}_proj.weight"] = torch.randn(out, channels) * channels**-0.5
        state[f"visual.attnpool.{name}_proj.bias"] = torch.randn(out) * 0.2
    return state


def levels(state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The four stages, by the equations of arXiv 2103.00020 and of ResNet-D: no module of torch."""

    def norm(name: str, x: Tensor) -> Tensor:
        scale, shift, mean, var = (state[f"visual.{name}.{k}"][:, None, None]
                                   for k in ("weight", "bias", "running_mean", "running_var"))  # fmt: skip
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def conv(name: str, x: Tensor, **kwargs: Any) -> Tensor:
        return F.conv2d(x, state[f"visual.{name}.weight"], **kwargs)

    def halved(x: Tensor) -> Tensor:
        return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))

    for i in (1, 2, 3):
        x = norm(f"bn{i}", conv(f"conv{i}", x, stride=2 if i == 1 else 1, padding=1)).clamp(min=0)
    x, found = halved(x), []
    for stage, depth in enumerate(LAYERS):
        for block in range(depth):
            home, small = f"layer{stage + 1}.{block}", stage > 0 and block == 0
            y = norm(f"{home}.bn1", conv(f"{home}.conv1", x)).clamp(min=0)
            y = norm(f"{home}.bn2", conv(f"{home}.conv2", y, padding=1)).clamp(min=0)
            y = norm(f"{home}.bn3", conv(f"{home}.conv3", halved(y) if small else y))
            if block == 0:
                x = norm(f"{home}.downsample.1", conv(f"{home}.downsample.0", halved(x) if small else x))
            x = (x + y).clamp(min=0)
        found.append(x)
    return found


def image_features(state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    own = {name.removeprefix("visual.attnpool."): value for name, value in state.items()}
    x = levels(state, pixels)[-1].flatten(2).transpose(1, 2)
    x = torch.cat([x.mean(1, keepdim=True), x], 1) + own["positional_embedding"]
    q, k, v = (x @ own[f"{n}_proj.weight"].T + own[f"{n}_proj.bias"] for n in "qkv")
    seen = []
    for head in range(x.shape[-1] // 64):
        part = slice(64 * head, 64 * (head + 1))
        weights = (q[:, :1, part] @ k[:, :, part].transpose(1, 2) / 8).softmax(-1)
        seen.append((weights @ v[:, :, part])[:, 0])
    return torch.cat(seen, -1) @ own["c_proj.weight"].T + own["c_proj.bias"]


def pixels_of(count: int = 3) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(count, 3, 32 * SIDE, 32 * SIDE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of RemoteCLIP's file."""
    home = tmp_path_factory.mktemp("rn50")
    torch.save(layout(), home / "RemoteCLIP-RN50.pt")
    clip_tokenizer().save_pretrained(home / "words")
    with pytest.MonkeyPatch.context() as patch:
        words = [f"file={home}/RemoteCLIP-RN50.pt", f"tokenizer={home}/words", f"out={home / 'clip'}"]
        patch.setattr(sys, "argv", ["convert_clip", *words])
        cli()
    return home / "clip"


@pytest.mark.parametrize(("kind", "quick"), [("openai", True), ("remoteclip", True), ("open_clip", True)])
def test_features_are_those_of_a_forward_pass_in_plain_torch(tmp_path: Path, kind: str, quick: bool) -> None:
    state = layout()
    torch.save(state, tmp_path / "weights.pt")
    model = to_transformers(read_clip(tmp_path / "weights.pt", kind=kind))
    with torch.no_grad():
        image, text = model.get_image_features(pixels_of()), model.get_text_features(IDS)
    torch.testing.assert_close(image, image_features(state, pixels_of()), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(text, text_features(state, IDS, quick=quick), atol=1e-5, rtol=1e-5)
    assert (text - text_features(state, IDS, quick=not quick)).abs().max() > 1e-2


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_openais_archive_holds_the_same(tmp_path: Path) -> None:
    archive(layout(), tmp_path / "RN50.pt")
    file = read_clip(tmp_path / "RN50.pt")
    assert file.kind == "openai" and file.state.keys() == layout().keys()
    with torch.no_grad():
        found = to_transformers(file).get_image_features(pixels_of())
    torch.testing.assert_close(found, image_features(layout(), pixels_of()), atol=1e-5, rtol=1e-5)
    torch.save(layout(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"georsclip is known as .*, and this file is ResNet"):
        to_transformers(read_clip(tmp_path / "w.pt", kind="georsclip"))


def test_the_folder_is_asked_and_is_a_tower(folder: Path) -> None:
    state, opened = layout(), open_dual(folder, device="cpu")
    image = F.normalize(image_features(state, pixels_of()), dim=-1)
    torch.testing.assert_close(opened.model.embed_images(pixels_of()), image, atol=1e-5, rtol=1e-5)
    assert opened.collate.transform.size == 64 and opened.collate.transform.mean[0] == pytest.approx(0.4814, abs=1e-4)
    ids, mask = opened.tokens(["w3 w4 w5", "w7"])
    text = F.normalize(text_features(state, ids, quick=True), dim=-1)
    torch.testing.assert_close(opened.model.embed_texts(ids, mask), text, atol=1e-5, rtol=1e-5)
    embedder = open_embedder(str(folder), device="cpu")
    found = embedder.embed_images([np.zeros((90, 70, 3), np.uint8), np.full((64, 64, 3), 200, np.uint8)])
    assert found.shape == (2, DIM) and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)

    tower = ClipResNet(pretrained=str(folder), config=SIZES)
    seen = tower(pixels_of())
    for got, right in zip(seen.pyramid, levels(state, pixels_of()), strict=True):
        torch.testing.assert_close(got, right, atol=1e-5, rtol=1e-5)
    assert [level.shape[1] for level in seen.pyramid] == [*tower.pyramid_widths] == [32, 64, 128, 256]
    assert seen.tokens.shape == (3, 1 + SIDE**2, tower.width) and tower.width == 256
    bare = ClipResNet(pretrained=str(folder), keep_prefix=False)(pixels_of())
    assert torch.equal(bare.tokens, seen.tokens[:, 1:])
    with pytest.raises(UserError, match="has a ResNet for pictures: choose vision=clip_rn50"):
        PretrainedTower(pretrained=str(folder))
    (seen.tokens.square().sum()).backward()
    assert [name for name, p in tower.named_parameters() if p.grad is None] == []
    grey = torch.randn(1, 1, 64, 64)
    four = ClipResNet(pretrained=str(folder), bands=4)(grey.expand(-1, 4, -1, -1)).tokens
    torch.testing.assert_close(four, tower(grey.expand(-1, 3, -1, -1)).tokens, atol=1e-4, rtol=1e-4)


def test_rn50_has_its_published_size() -> None:
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}  # the rest is CLIP's default
    with torch.device("meta"):
        model = ClipResNetModel(ClipResNetConfig(text_config=text))
    assert sum(p.numel() for p in model.parameters()) == 102_007_137


def test_another_size_is_resized_by_word_or_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"images are 96 x 96 px.*set image_size=64.*convert_clip file=... image_size=96"
    ):
        open_dual(folder, device="cpu").model.embed_images(torch.zeros(1, 3, 96, 96))
    with pytest.raises(UserError, match=r"vision.config differs .*: image_size=224 there 64"):
        ClipResNet(pretrained=str(folder), config=SIZES | {"image_size": 224})
    torch.save(layout(), tmp_path / "w.pt")
    file = read_clip(tmp_path / "w.pt", kind="openai")
    model = to_transformers(file, image_size=96)
    own = model.vision_model.positional_embedding
    assert own.shape == (10, 256) and torch.equal(own[0], layout()["visual.attnpool.positional_embedding"][0])
    assert model.get_image_features(torch.zeros(1, 3, 96, 96)).shape == (1, DIM)
    with pytest.raises(UserError, match="image_size=100: expected a multiple of 32"):
        to_transformers(file, image_size=100)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({k: v for k, v in layout().items() if "layer3.1.bn2.running_var" not in k}, r"lacks 1 weights of CLIP"),
        (layout() | {"visual.layer4.0.bn4.bias": torch.zeros(1)}, r"no place for, first: vision_model.layer4.0.bn4"),
        (layout() | {"visual.attnpool.c_proj.bias": torch.zeros(DIM + 1)}, r"1 weights have other shapes"),
        ({k: v for k, v in layout().items() if "positional" not in k}, r"no visual.attnpool.positional_embedding"),
    ],
)
def test_what_is_no_such_clip_is_refused(tmp_path: Path, state: Any, message: str) -> None:
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=message):
        to_transformers(read_clip(tmp_path / "w.pt", kind="openai"))


def test_it_goes_on_training_and_leaves_as_a_folder_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["recipe=clip_finetune", "vision=clip_rn50", f"vision.pretrained={folder}", "~vision.config", *SCENES]
    words += ["benchmark=[]", "trainer=cpu", "logger=csv", "draws=0", "part=3"]
    config: Any = OmegaConf.to_container(compose(words, name="contrast"), resolve=True)
    assert config["image_size"] == 64
    first, opened = build_dual(config, fit_codec(config, [])), open_dual(folder, device="cpu")
    assert not any(m.training for m in first.train().modules() if isinstance(m, torch.nn.BatchNorm2d))
    with torch.no_grad():
        torch.testing.assert_close(first.embed_images(pixels_of()), opened.model.embed_images(pixels_of()))
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    contrast(config, run)
    monkeypatch.setattr(sys, "argv", ["export", f"checkpoint={run}", f"out={out}"])
    export.cli()
    trained, again = (open_dual(path, device="cpu").model.embed_images(pixels_of()) for path in (run, out))
    torch.testing.assert_close(trained, again, atol=1e-5, rtol=1e-5)
    assert (trained - opened.model.embed_images(pixels_of())).abs().max() > 1e-3
