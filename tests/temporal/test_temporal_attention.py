"""Difference attention and semantic maps: the equations recomputed from the weights, and what equal dates leave."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.models import dates
from support.transitions import split_transitions
from torch import Tensor, nn

from rsmoe.data.rasters.transition_map import TransitionMap
from rsmoe.errors import UserError
from rsmoe.temporal.cross_attention import CrossAttention
from rsmoe.temporal.difference_attention import BitemporalFusion, DifferenceAttention
from rsmoe.temporal.semantic import Semantic
from rsmoe.temporal.semantic_tokens import SemanticTokens

D, N, HEADS, CLASSES, CELLS = 16, 6, 4, 3, 2


def pair(rows: int = 2, *, same: bool = False) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    tokens = torch.randn(rows, 2, N, D)
    if same:
        tokens[:, 1] = tokens[:, 0]
    return tokens, torch.full((rows,), 2)


def maps(rows: int = 2) -> Tensor:
    """Transitions of three classes, some pixels unknown."""
    values = torch.randint(0, CLASSES**2 + 1, (rows, 8, 8), generator=torch.Generator().manual_seed(2)).byte()
    values[:, 0, :3] = 255
    return values


def trained(module: nn.Module) -> nn.Module:
    """No parameter at a value that could hide it, as biases of 0 and norms of 1 do."""
    torch.manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    return module.eval()


def cross(**more: object) -> CrossAttention:
    module = trained(CrossAttention(**({"width": D, "layers": 2, "heads": HEADS} | more)))  # type: ignore[arg-type]
    assert isinstance(module, CrossAttention)
    return module


def semantic(**more: object) -> Semantic:
    options = {"width": D, "classes": CLASSES, "cells": CELLS, "layers": 2, "heads": HEADS} | more
    module = trained(Semantic(**options))  # type: ignore[arg-type]
    assert isinstance(module, Semantic)
    return module


# the equations, from the weights alone


def norm(x: Tensor, weights: nn.LayerNorm) -> Tensor:
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights.weight + weights.bias


def attend(x: Tensor, s: Tensor, attention: nn.MultiheadAttention) -> Tensor:
    """Head by head."""
    q, k, v = (part.T for part in attention.in_proj_weight.split(D))
    out, size = [], D // HEADS
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = (x @ q)[..., part] @ (s @ k)[..., part].mT / math.sqrt(size)
        out.append(scores.exp() / scores.exp().sum(-1, keepdim=True) @ (s @ v)[..., part])
    return torch.cat(out, -1) @ attention.out_proj.weight.T


def feed(x: Tensor, module: nn.Module) -> Tensor:
    one, two = module.get_submodule("linear1"), module.get_submodule("linear2")
    return (x @ one.weight.T + one.bias).clamp(min=0) @ two.weight.T + two.bias


def layer(x: Tensor, s: Tensor, module: DifferenceAttention) -> Tensor:
    y = norm(x + attend(x, s, module.attention), module.norm1)
    return norm(y + feed(y, module), module.norm2)


def fuse(levels: list[tuple[Tensor, Tensor]], module: BitemporalFusion) -> Tensor:
    z = torch.zeros(1)
    for (a, b), block, last in zip(levels, module.blocks, module.norms, strict=True):
        u = torch.cat([a, b], -1) + z
        inner = u
        for linear, between in ((block[0], block[1]), (block[3], block[4])):
            inner = norm(inner @ linear.weight.T + linear.bias, between).clamp(min=0)
        z = norm((u + inner @ block[6].weight.T + block[6].bias).clamp(min=0), last)
    return torch.cat([z[..., :D], z[..., D:]], 1)


def differences(a: Tensor, b: Tensor, module: CrossAttention) -> Tensor:
    levels = []
    for step in module.layers:
        a, b = layer(a, b - a, step), layer(b, b - a, step)
        levels.append((a, b))
    return fuse(levels, module.fusion)


def test_cross_attention_equations() -> None:
    tokens, frames = pair()
    module = cross()
    memory = module(dates(tokens, frames))
    assert memory.tokens.shape == (2, 2 * N, D) and memory.mask.all()
    torch.testing.assert_close(memory.tokens, differences(tokens[:, 0], tokens[:, 1], module), atol=1e-5, rtol=1e-5)


def test_learned_rows_and_columns() -> None:
    tokens, frames = pair()
    module = cross(grid=[2, 3])
    assert module.rows is not None and module.columns is not None
    places = torch.stack([torch.cat([module.columns[x], module.rows[y]]) for y in range(2) for x in range(3)])
    expected = differences(tokens[:, 0] + places, tokens[:, 1] + places, module)
    torch.testing.assert_close(module(dates(tokens, frames)).tokens, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match=r"grid=\[2, 2\] does not fit 6 tokens"):
        cross(grid=[2, 2])(dates(tokens, frames))


def test_semantic_equations() -> None:
    tokens, frames = pair()
    module, changes = semantic(), maps()
    i, s = list(tokens.unbind(1)), list(module.maps(changes).unbind(1))
    of_images, of_maps = [], []
    for step in module.layers:
        i, s = (
            [layer(a, b, step) for a, b in zip(i, s, strict=True)],
            [layer(b, a, step) for a, b in zip(i, s, strict=True)],
        )
        i, s = [layer(x, i[1] - i[0], step) for x in i], [layer(x, s[1] - s[0], step) for x in s]
        of_images.append((i[0], i[1]))
        of_maps.append((s[0], s[1]))
    told, meant, gate = fuse(of_images, module.fusion), fuse(of_maps, module.fusion), module.gate
    y = norm(told + attend(told, told, gate.own), gate.norm1)
    c = [attend(y, told, gate.cross), attend(y, meant, gate.cross)]
    v = torch.zeros(1)
    for linear, state, seen in (
        (gate.gate_image, c[0], torch.cat([y, c[0]], -1)),
        (gate.gate_map, c[1], torch.cat([y, c[1]], -1)),
        (gate.gate_own, y, y),
    ):
        v = v + state / (1 + (-(seen @ linear.weight.T + linear.bias)).exp())
    v = norm(v, gate.norm2)
    memory = module(dates(tokens, frames, changes))
    torch.testing.assert_close(memory.tokens, norm(v + feed(v, gate), gate.norm3), atol=1e-5, rtol=1e-5)


@dataclass(frozen=True)
class Given:
    """A map in memory."""

    values: np.ndarray
    key: str = "given"

    def read(self) -> np.ndarray:
        return self.values


def test_semantic_tokens_are_shares_of_classes() -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(1, CLASSES + 1, (8, 8)).astype(np.uint8)
    after = rng.integers(1, CLASSES + 1, (8, 8)).astype(np.uint8)
    before[5:], after[5:] = 0, 0  # no change
    before[0, 0] = 255
    changes = TransitionMap(Given(before), Given(after), CLASSES).read()
    module = SemanticTokens(width=D, classes=CLASSES, cells=CELLS)
    tokens = module(torch.from_numpy(changes)[None])[0]  # (2, 4, D)
    for date, values in enumerate(split_transitions(changes, CLASSES)):
        for cell in range(4):
            y, x = 4 * (cell // 2), 4 * (cell % 2)
            inside = values[y : y + 4, x : x + 4]
            shares = torch.tensor([(inside == k).mean() for k in range(CLASSES + 1)], dtype=torch.float32)
            expected = norm(module.embed.weight @ shares + module.places[cell], module.norm)
            torch.testing.assert_close(tokens[date, cell], expected)


# sizes


def test_sizes() -> None:
    width, layers = 512, 3
    with torch.device("meta"):
        module = CrossAttention(width=width, layers=layers, grid=[14, 14])
        both = Semantic(width=width, classes=6)
    released = torch.nn.TransformerDecoderLayer(width, 8, 4 * width, device="meta")  # its parts, with the biases
    one = sum(p.numel() for p in released.parameters()) - 4 * width**2 - 4 * width - 2 * width
    assert sum(p.numel() for p in module.layers.parameters()) == layers * (one - 4 * width)
    count = sum(p.numel() for p in module.parameters())
    assert count == 17 * layers * width**2 + 21 * layers * width + 28 * width // 2
    gate = 21 * width**2 + 14 * width
    assert sum(p.numel() for p in both.parameters()) == 2 * (17 * width**2 + 21 * width) + gate + 9 * width


# what equal dates leave


def test_nothing_to_attend_to_adds_exactly_nothing() -> None:
    module = trained(DifferenceAttention(width=D, heads=HEADS, dropout=0.0))
    tokens = pair()[0][:, 0]
    alone = module(tokens, torch.zeros_like(tokens))
    nn.init.normal_(module.attention.in_proj_weight, std=100.0)  # type: ignore[union-attr, arg-type]
    assert torch.equal(module(tokens, torch.zeros_like(tokens)), alone)


def test_identical_dates_give_exactly_zero_difference() -> None:
    tokens, frames = pair(same=True)
    changed, _ = pair()
    module = cross()
    before, other = module(dates(tokens, frames)).tokens, module(dates(changed, frames)).tokens
    for step in module.layers:  # nothing that attention could weigh
        nn.init.normal_(step.attention.in_proj_weight, std=100.0)
    assert torch.equal(module(dates(tokens, frames)).tokens, before)
    assert not torch.allclose(module(dates(changed, frames)).tokens, other)


@pytest.mark.parametrize("mapped", [False, True])
def test_identical_dates_with_identical_maps(mapped: bool) -> None:
    tokens, frames = pair(same=True)
    same = torch.zeros(2, 8, 8, dtype=torch.uint8)
    same[:, :4] = 5  # class 2 stays class 2
    seen: list[Tensor] = []

    def record(_: nn.Module, given: tuple[Tensor, Tensor]) -> None:
        seen.append(given[1])

    module = semantic()
    for step in module.layers:
        step.register_forward_pre_hook(record)
    module(dates(tokens, frames, same if mapped else None))
    asked = [s for i, s in enumerate(seen) if i % 8 >= 4]  # the last four calls of a layer: differences
    assert len(asked) == 8 and not any(s.any() for s in asked)


# maps that are there, and that are not


def test_pairs_without_maps_are_difference_attention_alone() -> None:
    tokens, frames = pair()
    module, changes = semantic(), maps()
    without = module(dates(tokens, frames)).tokens
    assert torch.equal(module(dates(tokens, frames, torch.full_like(changes, 255))).tokens, without)
    mixed = changes.clone()
    mixed[1] = 255
    memory = module(dates(tokens, frames, mixed)).tokens
    torch.testing.assert_close(memory[0], module(dates(tokens, frames, changes)).tokens[0])
    torch.testing.assert_close(memory[1], without[1])
    assert not torch.allclose(memory[0], without[0], atol=1e-2)
    # and nothing of the maps' own weights is in it
    nn.init.normal_(module.maps.embed.weight, std=100.0)
    nn.init.normal_(module.gate.gate_map.weight, std=100.0)
    assert torch.equal(module(dates(tokens, frames)).tokens, without)


def test_maps_of_pairs_alone_are_read() -> None:
    tokens, _ = pair(3)
    module, changes, frames = semantic(), maps(3), torch.tensor([2, 1, 2])
    memory = module(dates(tokens, frames, changes))
    other = changes.clone()
    other[1] = 200  # of one date: never looked at, though no class has it
    assert torch.equal(module(dates(tokens, frames, other)).tokens, memory.tokens)
    assert torch.equal(memory.tokens[1, :N], tokens[1, 0])
    one, two = module(dates(tokens, frames, changes.flip(0))).tokens[[0, 2]]
    assert not torch.allclose(one, memory.tokens[0]) and not torch.allclose(two, memory.tokens[2])


def test_swapping_dates_and_transitions_swaps_the_semantic_tokens() -> None:
    module, changes = SemanticTokens(width=D, classes=CLASSES, cells=CELLS), maps()
    kind = changes.long() - 1
    back = torch.where((changes > 0) & (changes < 255), 1 + CLASSES * (kind % CLASSES) + kind // CLASSES, changes)
    torch.testing.assert_close(module(back.byte()), module(changes).flip(1))


# bad input


def test_options_and_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"heads=5 does not divide .* 16"):
        cross(heads=5)
    with pytest.raises(UserError, match=r"classes=16"):
        semantic(classes=16)
    with pytest.raises(UserError, match=r"grid=\[3\]"):
        cross(grid=[3])
    with pytest.raises(UserError, match=r"transition 36, and temporal\.classes=3 has 9"):
        tokens, frames = pair()
        semantic()(dates(tokens, frames, torch.full((2, 4, 4), 36, dtype=torch.uint8)))
