"""Random weights as OpenAI and open_clip name them, and the forward pass of a ViT's CLIP in plain torch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from support.clip_words import WORDS

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


class _Node(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def archive(state: dict[str, Tensor], path: Path) -> None:
    """A TorchScript module whose parameters have these names, as OpenAI publishes its weights."""
    root = _Node()
    for name, value in state.items():
        *parents, leaf = name.split(".")
        node = root
        for parent in parents:
            if not hasattr(node, parent):
                node.add_module(parent, _Node())
            node = getattr(node, parent)
        if value.is_floating_point():
            node.register_parameter(leaf, nn.Parameter(value, requires_grad=False))
        else:
            node.register_buffer(leaf, value)
    torch.jit.save(torch.jit.trace(root, torch.zeros(1)), str(path))
