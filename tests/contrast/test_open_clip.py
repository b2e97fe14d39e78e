"""Files of OpenAI's and open_clip's layout: the same features as a forward pass in plain torch, or one clear line."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from support.clip_words import WORDS, clip_tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.commands.convert_clip import cli
from rsmoe.errors import UserError
from rsmoe.weights.open_clip import read_clip, resized_positions, to_transformers
from rsmoe.weights.torchscript import is_torchscript, read_torchscript

WIDE, TEXT, DIM, PATCH, SIDE, LONGEST = 128, 64, 24, 8, 4, 12
"""Width of the vision tower (two heads) and of the text tower (one), of embeddings; patches, their grid; context."""


def layout(seed: int = 0) -> dict[str, Tensor]:
    """Random weights by open_clip's names."""
    torch.manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.randn(*shape) * 0.2

    state = {
        "positional_embedding": rand(LONGEST, TEXT),
        "text_projection": rand(TEXT, DIM),
        "logit_scale": torch.tensor(4.6),
        "visual.class_embedding": rand(WIDE),
        "visual.positional_embedding": rand(1 + SIDE**2, WIDE),
        "visual.proj": rand(WIDE, DIM),
        "visual.conv1.weight": rand(WIDE, 3, PATCH, PATCH),
        "token_embedding.weight": rand(WORDS, TEXT),
    }
    for name, width in (("visual.ln_pre", WIDE), ("visual.ln_post", WIDE), ("ln_final", TEXT)):
        state |= {f"{name}.weight": 1 + rand(width), f"{name}.bias": rand(width)}
    for home, width in (("visual.", WIDE), ("", TEXT)):
        for i in range(2):
            block = f"{home}transformer.resblocks.{i}"
            for name, out, into in (("mlp.c_fc", 4 * width, width), ("mlp.c_proj", width, 4 * width),
                                    ("attn.out_proj", width, width)):  # fmt: skip
                state |= {f"{block}.{name}.weight": rand(out, into), f"{block}.{name}.bias": rand(out)}
            state |= {f"{block}.attn.in_proj_weight": rand(3 * width, width)}
            state |= {f"{block}.attn.in_proj_bias": rand(3 * width)}
            for name in ("ln_1", "ln_2"):
                state |= {f"{block}.{name}.weight": 1 + rand(width), f"{block}.{name}.bias": rand(width)}
    return state


def blocks(state: dict[str, Tensor], home: str, x: Tensor, *, heads: int, quick: bool, causal: bool) -> Tensor:
    """Pre-norm blocks, by the equations: attention written out, no module of torch or transformers."""
    width = x.shape[-1]
    for i in range(2):
        own = {k.removeprefix(f"{home}transformer.resblocks.{i}."): v for k, v in state.items()
               if k.startswith(f"{home}transformer.resblocks.{i}.")}  # fmt: skip
        y = F.layer_norm(x, (width,), own["ln_1.weight"], own["ln_1.bias"])
        q, k, v = (y @ own["attn.in_proj_weight"].T + own["attn.in_proj_bias"]).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-1, -2) / (width // heads) ** 0.5
        if causal:
            scores = scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)
        seen = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + seen @ own["attn.out_proj.weight"].T + own["attn.out_proj.bias"]
        y = F.layer_norm(x, (width,), own["ln_2.weight"], own["ln_2.bias"])
        y = y @ own["mlp.c_fc.weight"].T + own["mlp.c_fc.bias"]
        y = y * torch.sigmoid(1.702 * y) if quick else 0.5 * y * (1 + torch.erf(y / 2**0.5))
        x = x + y @ own["mlp.c_proj.weight"].T + own["mlp.c_proj.bias"]
    return x


def image_features(state: dict[str, Tensor], pixels: Tensor, *, quick: bool) -> Tensor:
    x = F.conv2d(pixels, state["visual.conv1.weight"], stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + state["visual.positional_embedding"]
    x = F.layer_norm(x, (WIDE,), state["visual.ln_pre.weight"], state["visual.ln_pre.bias"])
    x = blocks(state, "visual.", x, heads=2, quick=quick, causal=False)[:, 0]
    return F.layer_norm(x, (WIDE,), state["visual.ln_post.weight"], state["visual.ln_post.bias"]) @ state["visual.proj"]


def text_features(state: dict[str, Tensor], ids: Tensor, *, quick: bool) -> Tensor:
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][: ids.shape[1]]
    x = blocks(state, "", x, heads=1, quick=quick, causal=True)
    x = F.layer_norm(x, (TEXT,), state["ln_final.weight"], state["ln_final.bias"])
    return x[torch.arange(len(ids)), ids.argmax(-1)] @ state["text_projection"]  # the end token has the highest id


IDS = torch.tensor([[38, 3, 4, 5, 39, 0], [38, 7, 39, 0, 0, 0], [38, 9, 10, 11, 12, 39]])


def features_of(model: Any) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    pixels = torch.randn(3, 3, SIDE * PATCH, SIDE * PATCH)
    with torch.no_grad():
        return (
            model.get_image_features(pixel_values=pixels).pooler_output,
            model.get_text_features(input_ids=IDS).pooler_output,
        )


def expected(state: dict[str, Tensor], *, quick: bool) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    pixels = torch.randn(3, 3, SIDE * PATCH, SIDE * PATCH)
    return image_features(state, pixels, quick=quick), text_features(state, IDS, quick=quick)


@pytest.mark.parametrize(("kind", "quick"), [("openai", True), ("remoteclip", True), ("open_clip", False)])
def test_features_are_those_of_a_forward_pass_in_plain_torch(tmp_path: Path, kind: str, quick: bool) -> None:
    """And those of the other activation are not: it is what the test would miss most easily."""
    state = layout()
    torch.save(state, tmp_path / "weights.pt")
    model = to_transformers(read_clip(tmp_path / "weights.pt", kind=kind))
    assert model.config.vision_config.hidden_act == model.config.text_config.hidden_act
    for got, right, wrong in zip(
        features_of(model), expected(state, quick=quick), expected(state, quick=not quick), strict=True
    ):
        torch.testing.assert_close(got, right, atol=1e-5, rtol=1e-5)
        assert (got - wrong).abs().max() > 1e-2
    assert model.logit_scale.item() == pytest.approx(4.6)


WRAPPED = {
    "ddp": lambda s: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in s.items()}},
    "itra": lambda s: {
        "state_dict": {
            (f"image_backbone.{k[7:]}" if k.startswith("visual.") else f"text_backbone.{k}"): v for k, v in s.items()
        }
    },
    "openai": lambda s: s | {k: torch.tensor(1) for k in ("input_resolution", "context_length", "vocab_size")},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_other_wrappings_hold_the_same_weights(tmp_path: Path, wrap: str) -> None:
    state = layout()
    torch.save(WRAPPED[wrap](state), tmp_path / "RemoteCLIP-ViT-B-32.pt")
    file = read_clip(tmp_path / "RemoteCLIP-ViT-B-32.pt")
    assert file.kind == "remoteclip" and file.state.keys() == state.keys()
    assert all(torch.equal(file.state[name], value) for name, value in state.items())


class _Node(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def _archive(state: dict[str, Tensor], path: Path) -> None:
    """A TorchScript module whose parameters have these names, as OpenAI publishes its weights."""
    root = _Node()
    for name, value in state.items():
        *parents, leaf = name.split(".")
        node = root
        for parent in parents:
            if not hasattr(node, parent):
                node.add_module(parent, _Node())
            node = getattr(node, parent)
        node.register_parameter(leaf, nn.Parameter(value, requires_grad=False))
    torch.jit.save(torch.jit.trace(root, torch.zeros(1)), str(path))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_torchscript_archive_is_read_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = layout() | {"visual.conv1.weight": layout()["visual.conv1.weight"].half()}
    _archive(state, tmp_path / "ViT-B-32.pt")
    assert is_torchscript(tmp_path / "ViT-B-32.pt")
    for name in ("load", "_script"):
        monkeypatch.delattr(torch.jit, name, raising=False)
    file = read_clip(tmp_path / "ViT-B-32.pt")
    assert file.kind == "openai" and file.state.keys() == state.keys()
    assert all(torch.equal(file.state[name], value) for name, value in state.items())
    model = to_transformers(file)
    assert model.config.vision_config.hidden_act == "quick_gelu" and model.dtype == torch.float32


class _Evil:
    def __reduce__(self) -> Any:
        return (print, ("run",))


def test_an_archive_that_names_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(_Evil()))
        archive.writestr("evil/code/x.py", "")
    with pytest.raises(UserError, match=r"names (__builtin__|builtins)\.print, which is no tensor"):
        read_torchscript(tmp_path / "evil.pt")
    assert capsys.readouterr().out == ""


def test_positions_of_another_size(tmp_path: Path) -> None:
    table = layout()["visual.positional_embedding"]
    torch.testing.assert_close(resized_positions(table, SIDE), table, atol=1e-6, rtol=0)
    larger = resized_positions(table, 2 * SIDE)
    assert larger.shape == (1 + 4 * SIDE**2, WIDE) and torch.equal(larger[0], table[0])
    flat = torch.cat([table[:1], torch.ones(SIDE**2, WIDE)])
    torch.testing.assert_close(resized_positions(flat, 6)[1:], torch.ones(36, WIDE))
    torch.save(layout(), tmp_path / "w.pt")
    file = read_clip(tmp_path / "w.pt", kind="openai")
    model = to_transformers(file, image_size=2 * SIDE * PATCH)
    assert model.config.vision_config.image_size == 2 * SIDE * PATCH
    assert model.get_image_features(pixel_values=torch.zeros(1, 3, 64, 64)).pooler_output.shape == (1, DIM)
    with pytest.raises(UserError, match="image_size=60: expected a multiple of 8"):
        to_transformers(file, image_size=60)


def _without(name: str) -> dict[str, Tensor]:
    return {k: v for k, v in layout().items() if k != name}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (_without("visual.transformer.resblocks.1.ln_2.bias"), r"lacks 1 weights of CLIP, first: vision_model"),
        (layout() | {"visual.attnpool.x": torch.zeros(1)}, r"no place for, first: visual.attnpool.x"),
        (layout() | {"visual.proj": torch.zeros(WIDE + 1, DIM)}, r"1 weights have other shapes.*visual_projection"),
        (layout() | {"visual.positional_embedding": torch.zeros(13, WIDE)}, r"12 places.*no square"),
        (_without("token_embedding.weight"), r"holds no CLIP: no token_embedding.weight"),
        (layout() | {"visual.layer1.0.conv1.weight": torch.zeros(1)}, r"has a ResNet for pictures"),
        ({"x": 3}, r"holds no state dict"),
    ],
)
def test_what_is_no_clip_is_refused(tmp_path: Path, state: Any, message: str) -> None:
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=message):
        to_transformers(read_clip(tmp_path / "w.pt", kind="openai"))


def test_whose_file_it_is_has_to_be_known(tmp_path: Path) -> None:
    torch.save(layout(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w.pt does not say whose it is.*give kind=<one of openai, open_clip"):
        read_clip(tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"georsclip is known as B/32, L/14, H/14, and this file is width 128/8"):
        to_transformers(read_clip(tmp_path / "w.pt", kind="georsclip"))


def test_the_command_writes_a_folder_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rsmoe.contrast.open_dual import is_dual_path, open_dual

    state = layout()
    torch.save(state, tmp_path / "RemoteCLIP-ViT-B-32.pt")
    clip_tokenizer().save_pretrained(tmp_path / "words")
    out = tmp_path / "clip"
    words = [f"file={tmp_path}/RemoteCLIP-ViT-B-32.pt", f"tokenizer={tmp_path}/words", f"out={out}"]
    monkeypatch.setattr(sys, "argv", ["convert_clip", *words])
    cli()
    assert "quick_gelu, as remoteclip was trained" in capsys.readouterr().out
    assert json.loads((out / "preprocessor_config.json").read_text())["crop_size"] == {"height": 32, "width": 32}
    assert is_dual_path(out)
    opened = open_dual(out, device="cpu")
    assert opened.collate.transform.size == SIDE * PATCH
    ids, mask = opened.tokens(["w3 w4 w5", "w7", "w9 w10 w11 w12"])
    assert ids[1].tolist() == [38, 7, 39, 39, 39, 39] and mask.sum(1).tolist() == [5, 3, 6]
    torch.manual_seed(1)
    pixels = torch.randn(3, 3, SIDE * PATCH, SIDE * PATCH)
    image, text = expected(state, quick=True)
    torch.testing.assert_close(opened.model.embed_images(pixels), F.normalize(image, dim=-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(opened.model.embed_texts(ids, mask), F.normalize(text, dim=-1), atol=1e-5, rtol=1e-5)
    ids, _ = opened.tokens([" ".join(f"w{i}" for i in range(30))])
    assert ids.shape == (1, LONGEST) and ids[0, -1] == WORDS - 1
