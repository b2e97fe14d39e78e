"""Series of frames: the equations recomputed, a memory that does not grow, when and where, nothing from no change."""

from __future__ import annotations

import math

import pytest
import torch
from support.models import dates
from torch import Tensor

from rsmoe.errors import UserError
from rsmoe.temporal.frames import Frames

D, N = 8, 5


def frames_module(**more: float) -> Frames:
    torch.manual_seed(0)
    return Frames(**({"width": D} | more)).eval()  # type: ignore[arg-type]


def series(*counts: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(len(counts), max(counts), N, D), torch.tensor(counts)


def by_hand(module: Frames, tokens: Tensor, times: list[float]) -> Tensor:
    """(T, N, D) of one sample, place by place and frame by frame."""
    longest, half = len(times), D // 2
    waves = []
    for t in times:
        angles = [(t - times[0]) * (2 * math.pi / 10_000) ** (i / (half - 1)) for i in range(half)]
        waves.append(torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles]))
    ln = lambda x: torch.nn.functional.layer_norm(x, (D,), module.norm.weight, module.norm.bias)  # noqa: E731
    state, changes = torch.zeros(N, D), torch.zeros(len(module.queries), N, D)
    for n in range(N):
        score = torch.stack([module.score.weight[0] @ ln(tokens[t, n] + waves[t]) for t in range(longest)]).softmax(0)
        state[n] = sum(score[t] * tokens[t, n] for t in range(longest))
        d = [tokens[t, n] - tokens[t - 1, n] for t in range(1, longest)]
        for slot, query in enumerate(module.queries):
            asked, told = [], []
            for t in range(1, longest):
                key = module.key.weight @ d[t - 1] + module.key_time.weight @ waves[t]
                asked.append(query @ key / math.sqrt(D))
                factor = 1 + module.value_time.weight @ waves[t] + module.value_place.weight @ ln(state[n])
                told.append(module.value.weight @ (d[t - 1] * factor))
            weight = torch.stack(asked).softmax(0)
            changes[slot, n] = sum(w * v for w, v in zip(weight, told, strict=True))
    return torch.cat([state, *changes])


@pytest.mark.parametrize("given", [False, True])
def test_equations(given: bool) -> None:
    tokens, counts = series(4, 2)
    module = frames_module()
    days = torch.tensor([[100.0, 130.0, 131.0, 900.0], [5.0, 9.0, float("nan"), 0.0]]) if given else None
    memory = module(dates(tokens, counts, times=days))
    assert memory.tokens.shape == (2, 3 * N, D) and memory.mask.all()
    for i, count in enumerate(counts.tolist()):
        times = [float(t) for t in range(count)] if days is None else days[i, :count].tolist()
        torch.testing.assert_close(memory.tokens[i], by_hand(module, tokens[i], times), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("longest", [2, 3, 16])
def test_memory_does_not_grow_with_the_series(longest: int) -> None:
    memory = frames_module(slots=3)(dates(*series(longest, 1)))
    assert memory.tokens.shape == (2, 4 * N, D)
    assert memory.mask[0].all() and memory.mask[1].tolist() == [True] * N + [False] * 3 * N
    assert not memory.tokens[1, N:].any()


def test_a_series_in_a_batch_equals_itself_alone() -> None:
    tokens, counts = series(6, 1, 3, 2)
    module = frames_module()
    memory = module(dates(tokens, counts))
    for i, count in enumerate(counts.tolist()):
        alone = module(dates(tokens[i : i + 1, :count], counts[i : i + 1]))
        torch.testing.assert_close(memory.tokens[i][memory.mask[i]], alone.tokens[0])
        tokens[i, count:] = float("nan")
    assert torch.equal(module(dates(tokens, counts)).tokens, memory.tokens)


def test_size() -> None:
    assert sum(p.numel() for p in frames_module(slots=3).parameters()) == 5 * D**2 + (3 + 3) * D


def test_equal_frames_give_exactly_zero_change() -> None:
    tokens, counts = series(5, 2)
    tokens = tokens[:, :1].expand(-1, 5, -1, -1)
    memory = frames_module()(dates(tokens, counts))
    assert not memory.tokens[:, N:].any()
    torch.testing.assert_close(memory.tokens[:, :N], tokens[:, 0])


def test_when_and_in_which_order_matters() -> None:
    tokens = torch.zeros(1, 6, N, D)
    early, late, module, counts = tokens.clone(), tokens.clone(), frames_module(), torch.tensor([6])
    shape = torch.randn(N, D, generator=torch.Generator().manual_seed(4))
    early[:, 1:], late[:, 5:] = shape, shape  # the same thing appears, in the second frame and in the last
    told = [module(dates(x, counts)).tokens[:, N:] for x in (early, late, early.flip(1))]
    assert (told[0] - told[1]).abs().max() > 0.1 and (told[1] - told[2]).abs().max() > 0.1
    days = torch.tensor([[0.0, 90.0, 180.0, 270.0, 360.0, 1000.0]])
    slow = module(dates(late, counts, times=days)).tokens[:, N:]
    assert (slow - told[1]).abs().max() > 0.1


def test_where_the_same_change_happened_matters() -> None:
    """Tokens hold their place, their differences do not; the memory does."""
    places = torch.randn(N, D, generator=torch.Generator().manual_seed(5))
    tokens = places.expand(1, 2, -1, -1).clone()
    tokens[:, 1] += 1.0
    changes = frames_module()(dates(tokens, torch.tensor([2]))).tokens[0, N:].unflatten(0, (2, N))
    gaps = (changes[0, :, None] - changes[0]).abs().amax(-1)
    assert (gaps + torch.eye(N)).min() > 0.05


def test_options_out_of_range() -> None:
    for options in ({"slots": 0}, {"period": 1.0}, {"width": 7}):
        with pytest.raises(UserError, match=r"expected slots >= 1"):
            frames_module(**options)
