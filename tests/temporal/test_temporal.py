"""Temporal perception: the contract for every yaml, DeltaVLM's equations recomputed, mixed batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.models import dates
from torch import Tensor, nn

from rsmoe.errors import UserError
from rsmoe.parts import instantiate
from rsmoe.temporal import VisualMemory

CONF = Path(__file__).parents[2] / "conf" / "temporal"
YAMLS = {p.stem: yaml.safe_load(p.read_text()) for p in sorted(CONF.glob("*.yaml"))}
PAIRED = sorted(set(YAMLS) - {"passthrough"})
WIDTH, TOKENS = 16, 5


def build(name: str, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return instantiate(YAMLS[name] | changes, width=WIDTH).eval()


def calm(name: str) -> nn.Module:
    """Without dropout."""
    return build(name, **({"dropout": 0.0} if "dropout" in YAMLS[name] else {}))


def batch(*frames: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    tokens = torch.randn(len(frames), max(frames, default=1), TOKENS, WIDTH)
    for row, count in zip(tokens, frames, strict=True):
        row[count:] = 0.0
    return tokens, torch.tensor(frames, dtype=torch.long)


def relate(module: nn.Module, date: Tensor, difference: Tensor) -> Tensor:
    """F'_t from the weights alone."""
    w = dict(module.named_parameters())
    c = torch.tanh(difference @ w["context1.weight"].T + date @ w["context2.weight"].T + w["context2.bias"])
    pre = difference @ w["gate1.weight"].T + date @ w["gate2.weight"].T + w["gate2.bias"]
    return c / (1 + torch.exp(-pre))


# the contract


@pytest.mark.parametrize("name", YAMLS)
def test_one_date_passes_unchanged(name: str) -> None:
    tokens, frames = batch(1, 1, 1)
    memory = build(name)(dates(tokens, frames))
    assert isinstance(memory, VisualMemory)
    assert torch.equal(memory.tokens, tokens[:, 0])
    assert memory.mask.dtype == torch.bool and memory.mask.shape == (3, TOKENS) and memory.mask.all()


@pytest.mark.parametrize("name", PAIRED)
def test_a_mixed_batch_equals_its_samples_alone(name: str) -> None:
    module = build(name)
    tokens, frames = batch(2, 1, 2, 1)
    memory = module(dates(tokens, frames))
    for i, count in enumerate(frames.tolist()):
        alone = module(dates(tokens[i : i + 1, :count], frames[i : i + 1]))
        valid = memory.tokens[i][memory.mask[i]]
        assert torch.allclose(valid, alone.tokens[0], atol=1e-6)
        assert memory.mask[i].sum() == alone.mask.sum()


@pytest.mark.parametrize("name", PAIRED)
def test_padding_is_never_read(name: str) -> None:
    module = build(name)
    tokens, frames = batch(2, 1)
    before = module(dates(tokens, frames))
    tokens[1, 1] = float("nan")
    after = module(dates(tokens, frames))
    assert torch.equal(before.tokens, after.tokens) and torch.equal(before.mask, after.mask)


@pytest.mark.parametrize("name", PAIRED)
def test_gradients_reach_valid_tokens_and_no_others(name: str) -> None:
    module = build(name)
    tokens, frames = batch(3, 1) if name == "frames" else batch(2, 1)  # two frames leave no choice of a difference
    tokens.requires_grad_()
    maps = {"class_map": torch.arange(2 * 28 * 28).view(2, 28, 28).remainder(37).byte()} if name == "semantic" else {}
    memory = module(dates(tokens, frames, **maps))
    # the sum of squares behind a LayerNorm is a constant: other weights
    (memory.tokens.square() * torch.rand(memory.tokens.shape)).sum().backward()
    assert tokens.grad is not None
    assert tokens.grad[0].abs().amin(dim=(1, 2)).gt(0).all() and tokens.grad[1, 0].abs().min() > 0
    assert not tokens.grad[1, 1:].any()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("frames", [(1, 1), ()])
@pytest.mark.parametrize("name", PAIRED)
def test_without_pairs_gradients_are_zero_not_missing(name: str, frames: tuple[int, ...]) -> None:
    module = build(name)
    tokens, counts = batch(*frames)
    tokens.requires_grad_()
    module(dates(tokens, counts)).tokens.sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or p.grad.any()] == []


@pytest.mark.parametrize("name", YAMLS)
def test_state_round_trip_and_determinism(name: str) -> None:
    module, twin = build(name), build(name)
    for p in twin.parameters():
        nn.init.ones_(p)
    tokens, frames = batch(1, 1) if name == "passthrough" else batch(2, 1)
    twin.load_state_dict(module.state_dict())
    first = module(dates(tokens, frames)).tokens
    assert torch.equal(first, module(dates(tokens, frames)).tokens) and torch.equal(
        first, twin(dates(tokens, frames)).tokens
    )


@pytest.mark.parametrize("name", PAIRED)
def test_half_precision_stays(name: str) -> None:
    tokens, frames = batch(2, 1)
    assert build(name).bfloat16()(dates(tokens.bfloat16(), frames)).tokens.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert build(name)(dates(tokens, frames)).tokens.dtype == torch.float32


@pytest.mark.parametrize("name", PAIRED)
def test_training_and_generation_share_one_path(name: str) -> None:
    """The released DeltaVLM trains on the bare tokens and generates through CSRM; here only dropout differs."""
    module = calm(name)
    tokens, frames = batch(2, 1)
    assert torch.equal(module.train()(dates(tokens, frames)).tokens, module.eval()(dates(tokens, frames)).tokens)


@pytest.mark.parametrize("name", PAIRED)
def test_order_of_dates_matters(name: str) -> None:
    tokens, frames = batch(2)
    module = build(name)
    forth, back = module(dates(tokens, frames)).tokens[0], module(dates(tokens.flip(1), frames)).tokens[0]
    sets = [sorted(map(tuple, (m.detach() * 1e4).round().int().tolist())) for m in (forth, back)]
    assert sets[0] != sets[1]  # also as a set of tokens, which is all that attention sees


# what each one computes


def test_csrm_released_equations() -> None:
    tokens, frames = batch(2, 2)
    module = build("csrm")
    a, b = tokens[:, 0], tokens[:, 1]
    w, bias = module.context3.weight, module.context3.bias
    out = []
    for date in (a, b):
        gated = relate(module.dates[0], date, b - a)
        out.append(date @ w[:, :WIDTH].T + (b - a) @ w[:, WIDTH : 2 * WIDTH].T + gated @ w[:, 2 * WIDTH :].T + bias)
    memory = module(dates(tokens, frames))
    assert memory.tokens.shape == (2, 2 * TOKENS, WIDTH) and memory.mask.all()
    assert torch.allclose(memory.tokens, torch.cat(out, 1), atol=1e-5)


def test_csrm_paper_equations() -> None:
    tokens, frames = batch(2)
    module = build("csrm_paper")
    a, b = tokens[:, 0], tokens[:, 1]
    assert not torch.equal(module.dates[0].gate1.weight, module.dates[1].gate1.weight)
    expected = torch.cat([relate(module.dates[0], a, b - a), relate(module.dates[1], b, b - a)], 1)
    assert torch.allclose(module(dates(tokens, frames)).tokens, expected, atol=1e-6)


def test_csrm_has_its_published_size() -> None:
    with torch.device("meta"):
        released = instantiate(YAMLS["csrm"], width=1408)
        paper = instantiate(YAMLS["csrm_paper"], width=1408)
    assert sum(p.numel() for p in released.parameters()) == 13_881_472
    assert sum(p.numel() for p in paper.parameters()) == 8 * 1408**2 + 4 * 1408


def test_csrm_dropout_works_in_training_only() -> None:
    tokens, frames = batch(2)
    module = build("csrm_paper").train()
    dropped = (module(dates(tokens, frames)).tokens == 0).float().mean()
    assert dropped == pytest.approx(0.75, abs=0.15)  # either of two factors, each at 0.5
    assert not (module.eval()(dates(tokens, frames)).tokens == 0).any()


def test_identical_dates_give_exactly_zero_difference() -> None:
    tokens, frames = batch(2)
    tokens[:, 1] = tokens[:, 0]
    assert not build("subtract")(dates(tokens, frames)).tokens.any()
    for name in ("csrm", "csrm_paper"):
        module = build(name)
        before = module(dates(tokens, frames)).tokens
        for relation in module.dates:  # what reads the difference
            nn.init.normal_(relation.context1.weight, std=100.0)
            nn.init.normal_(relation.gate1.weight, std=100.0)
        assert torch.equal(module(dates(tokens, frames)).tokens, before)


def test_equal_dates_differ_in_a_concatenation_by_their_marks_alone() -> None:
    tokens, frames = batch(2, 2)
    tokens[:, 1] = tokens[:, 0]
    module = build("concat")
    before, after = module(dates(tokens, frames)).tokens.chunk(2, dim=1)
    assert torch.allclose(after - before, (module.marks[1] - module.marks[0]).expand_as(after), atol=1e-6)
    plain = build("concat", mark_dates=False)(dates(tokens, frames)).tokens
    assert torch.equal(*plain.chunk(2, dim=1))
    assert sum(p.numel() for p in module.parameters()) == 2 * WIDTH


def test_subtract() -> None:
    tokens, frames = batch(2, 1)
    memory = build("subtract")(dates(tokens, frames))
    assert torch.equal(memory.tokens[0], tokens[0, 1] - tokens[0, 0]) and torch.equal(memory.tokens[1], tokens[1, 0])
    assert memory.mask.all()


def test_concat_without_marks_is_what_the_released_code_trains_on() -> None:
    tokens, frames = batch(2, 1)
    memory = build("concat", mark_dates=False)(dates(tokens, frames))
    assert torch.equal(memory.tokens[0], tokens[0].flatten(0, 1))
    assert memory.mask.tolist() == [[True] * 10, [True] * 5 + [False] * 5]


# bad input


def test_two_dates_need_a_temporal_module() -> None:
    with pytest.raises(UserError, match=r"up to 2.*temporal=csrm"):
        build("passthrough")(dates(*batch(2, 1)))


@pytest.mark.parametrize("name", sorted(set(PAIRED) - {"frames"}))
def test_three_dates_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="up to 3 dates"):
        build(name)(dates(*batch(3, 1)))


def test_unknown_variant() -> None:
    with pytest.raises(UserError, match="temporal.variant='code': expected 'released' or 'paper'"):
        build("csrm", variant="code")
