"""Prefixes of keys and values against attention that is written out, in the towers of CLIP and SigLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.clip_words import TEXT
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    SiglipTextConfig,
    SiglipTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from rsmoe.errors import UserError
from rsmoe.training.freeze import set_trainable
from rsmoe.vision.prefix_attention import PrefixAttention
from rsmoe.vision.pretrained_tower import PretrainedTower
from rsmoe.vision.tower_adapters import adapt

SEEN = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SEEN |= {"image_size": 16, "patch_size": 8}
TOWERS: dict[str, Any] = {
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**SEEN)),
    "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**SEEN, vision_use_head=False)),
    "clip text": lambda: CLIPTextModel(CLIPTextConfig(**TEXT)),
    "siglip text": lambda: SiglipTextModel(SiglipTextConfig(**TEXT, projection_size=16)),
}
IDS = torch.tensor([[38, 3, 4, 39, 39, 39], [38, 7, 9, 8, 2, 39]])
PADDED = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])


def tower(name: str) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = TOWERS[name]().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made


def run(name: str, model: Any) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        if "text" not in name:
            return model(pixel_values=torch.randn(2, 3, 16, 16)).last_hidden_state
        mask = {"attention_mask": PADDED} if name == "clip text" else {}
        return model(input_ids=IDS, **mask).last_hidden_state


class Written(nn.Module):
    """Attention by the equation, head by head and query by query, with keys and values put in front."""

    def __init__(self, base: Any, key: Tensor, value: Tensor, allowed: Tensor | None) -> None:
        super().__init__()
        self.base, self.key, self.value, self.allowed = base, key, value, allowed

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        base, n = self.base, len(self.key)
        rows = []
        for b, x in enumerate(hidden_states):
            q, k, v = (x @ part.weight.T + part.bias for part in (base.q_proj, base.k_proj, base.v_proj))
            k, v = torch.cat([self.key, k]), torch.cat([self.value, v])
            heads = []
            for some in torch.arange(x.shape[-1]).chunk(base.num_heads):
                scores = q[:, some] @ k[:, some].T / len(some) ** 0.5
                if self.allowed is not None:
                    scores[:, n:][~self.allowed[b]] = -torch.inf
                heads.append(scores.softmax(-1) @ v[:, some])
            rows.append(torch.cat(heads, -1) @ base.out_proj.weight.T + base.out_proj.bias)
        return torch.stack(rows), None


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", TOWERS)
def test_it_is_attention_with_more_keys_and_values(name: str, implementation: str) -> None:
    ours, theirs = tower(name), tower(name)
    ours.set_attn_implementation(implementation)  # type: ignore[operator]
    before = run(name, ours)
    adapt(ours, key="vision", lora=None, bottleneck=None, prefix=3)
    found = [module for module in ours.modules() if isinstance(module, PrefixAttention)]
    assert len(found) == 2
    shrunk = run(name, ours)
    assert not torch.allclose(shrunk, before, atol=1e-3)  # it takes its share of attention from the start
    causal = torch.ones(6, 6, dtype=torch.bool).tril() & PADDED[:, None].bool()
    layers: Any = theirs.encoder.layers
    for trained in (False, True):
        for prefix, layer in zip(found, layers, strict=True):
            if trained:
                torch.nn.init.normal_(prefix.prefix_value)
            base = getattr(layer.self_attn, "base", layer.self_attn)
            own = (prefix.prefix_key.detach(), prefix.prefix_value.detach())
            layer.self_attn = Written(base, *own, causal if name == "clip text" else None)
        real = PADDED.bool() if name == "clip text" else slice(None)  # what stands behind the end says nothing
        torch.testing.assert_close(run(name, ours)[real], run(name, theirs)[real], atol=1e-5, rtol=1e-4)


def test_only_the_prefix_trains_and_it_comes_back(tmp_path: Path) -> None:
    tower("clip").save_pretrained(tmp_path)  # type: ignore[operator]
    model = PretrainedTower(pretrained=str(tmp_path), prefix=4, lora={"rank": 2}, bottleneck={"width": 3})
    trained = set_trainable(model, ["*prefix_*"])
    assert sorted(trained) == [
        f"tower.encoder.layers.{i}.self_attn.prefix_{part}" for i in (0, 1) for part in ("key", "value")
    ]
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * 2 * 4 * 16
    pixels = torch.randn(2, 3, 16, 16)
    model(pixels).tokens.square().sum().backward()
    assert all((p.grad is not None) == (n in trained) for n, p in model.named_parameters())
    again = PretrainedTower(pretrained=str(tmp_path), prefix=4, lora={"rank": 2}, bottleneck={"width": 3}).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(pixels).tokens, model.eval()(pixels).tokens)


def test_other_towers_are_refused(tmp_path: Path) -> None:
    Dinov2Model(Dinov2Config(**SEEN)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="vision.prefix=2: a prefix is for towers of CLIP and SigLIP; choose"):
        PretrainedTower(pretrained=str(tmp_path), prefix=2)
