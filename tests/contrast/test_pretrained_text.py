"""Towers of transformers: CLIP's and SigLIP's text model as a text tower, and a SigLIP folder as a dual encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.clip_words import TEXT, clip_tokenizer
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from rsmoe.archive.dual_embedder import DualEmbedder
from rsmoe.archive.open_embedder import open_embedder
from rsmoe.contrast.open_dual import is_dual_path, open_dual
from rsmoe.contrast.pretrained_text import PretrainedText
from rsmoe.contrast.text_tokens import TextTokens
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError

SEEN = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip
KINDS: dict[str, tuple[Any, Any]] = {"clip": (CLIPConfig, CLIPModel), "siglip": (SiglipConfig, SiglipModel)}


def saved(folder: Path, kind: str) -> tuple[str, Any]:
    """A folder with tiny weights and a tokenizer of forty words."""
    torch.manual_seed(0)
    config, model = KINDS[kind]
    text = TEXT | ({"projection_size": 16} if kind == "siglip" else {})
    whole = model(config(text_config=text, vision_config=SEEN)).eval()
    whole.save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    return str(folder), whole


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_tower_is_the_checkpoint_s(tmp_path: Path, kind: str) -> None:
    name, whole = saved(tmp_path / kind, kind)
    codec = TextCodec.from_pretrained(name)
    tower = PretrainedText(pretrained=name, vocab_size=codec.vocab_size, dim=6).eval()
    tokens = TextTokens(codec, longest=tower.longest, wrap=tower.wrap, padded=tower.padded)
    ids, mask = tokens(["w3 w4", "w5"])
    assert ids.shape == ((2, 12) if kind == "siglip" else (2, 4))
    expected = tower.out(whole.text_model(input_ids=ids).pooler_output)
    torch.testing.assert_close(tower(ids, mask), expected, atol=1e-5, rtol=1e-5)
    tower(ids, mask).sum().backward()
    assert bool(tower.tower.get_input_embeddings().weight.grad.any())
    with pytest.raises(UserError, match=r"has 41 tokens, its text model 40"):
        PretrainedText(pretrained=name, vocab_size=41, dim=6)


def test_a_siglip_folder_is_a_dual_encoder(tmp_path: Path) -> None:
    name, whole = saved(tmp_path / "siglip", "siglip")
    assert is_dual_path(Path(name))
    opened = open_dual(Path(name), device="cpu")
    ids, mask = opened.tokens(["w3 w4", "w5"])
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        text = whole.get_text_features(input_ids=ids).pooler_output
        image = whole.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(opened.model.embed_texts(ids, mask), F.normalize(text, dim=-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(opened.model.embed_images(pixels), F.normalize(image, dim=-1), atol=1e-5, rtol=1e-5)
    assert opened.collate.transform.size == 16 and opened.collate.transform.mean == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_takes_a_folder(tmp_path: Path, kind: str) -> None:
    name, _ = saved(tmp_path / kind, kind)
    embedder = open_embedder(name, device="cpu")
    assert isinstance(embedder, DualEmbedder) and embedder.bands == 3 and len(embedder.fingerprint) == 64
    opened = open_dual(Path(name), device="cpu")
    images = [np.full((20, 20, 3), shade, np.uint8) for shade in (20, 200, 20)]
    mean, std = (torch.tensor(x)[:, None, None] for x in (opened.collate.transform.mean, opened.collate.transform.std))
    pixels = ((200 / 255 - mean) / std).expand(3, 16, 16)
    seen = embedder.embed_images(images)
    torch.testing.assert_close(torch.from_numpy(seen[1:2]), opened.model.embed_images(pixels[None]))
    assert seen.shape == (3, embedder.dim) and (seen[0] == seen[2]).all() and not np.allclose(seen[0], seen[1])
    np.testing.assert_allclose(np.linalg.norm(embedder.embed_texts(["w3 w4", "w5"]), axis=1), 1, atol=1e-5)
