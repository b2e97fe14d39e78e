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
from support.open_clip_layout import (
    DIM,
    IDS,
    LONGEST,
    PATCH,
    SIDE,
    WIDE,
    archive,
    image_features,
    layout,
    text_features,
)  # fmt: skip
from torch import Tensor
from torch.nn import functional as F

from rsmoe.commands.convert_clip import cli
from rsmoe.errors import UserError
from rsmoe.weights.open_clip import read_clip, resized_positions, to_transformers
from rsmoe.weights.torchscript import is_torchscript, read_torchscript


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


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_torchscript_archive_is_read_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = layout() | {"visual.conv1.weight": layout()["visual.conv1.weight"].half()}
    archive(state, tmp_path / "ViT-B-32.pt")
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
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as evil:
        evil.writestr("evil/data.pkl", pickle.dumps(_Evil()))
        evil.writestr("evil/code/x.py", "")
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
        (
            layout() | {"visual.positional_embedding": torch.zeros(13, WIDE)},
            r"12 places beside the first, which are no square",
        ),
        (_without("token_embedding.weight"), r"holds no CLIP: no token_embedding.weight"),
        (layout() | {"visual.layer1.0.conv1.weight": torch.zeros(1)}, r"no visual.attnpool.positional_embedding"),
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
