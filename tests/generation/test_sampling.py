"""Sampling against distributions that are written out, and seeds that do not know of the rest of their batch."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import pytest
import torch
from support.chains import ROWS, Chain, start_of
from support.models import batch_of, codecs, tiny_model

from rsmoe.errors import UserError
from rsmoe.generation.decoding import Decoding, decode
from rsmoe.generation.sampler import _draw, sampled_distribution
from rsmoe.generation.stop_words import StopWords
from rsmoe.model import RSMoE
from rsmoe.router.routing import Rows

END = codecs()[0].eos_id
assert END is not None


@pytest.fixture(scope="module")
def model() -> RSMoE:
    """Every sample has a number of experts of its own."""
    return tiny_model("choice.threshold=0.15")


def reference(p: list[float], temperature: float, top_p: float) -> list[float]:
    """Of one row of probabilities, in plain Python: temperature first, then the nucleus."""
    warm = [x ** (1 / temperature) for x in p]
    warm = [x / sum(warm) for x in warm]
    kept: list[int] = []
    for place in sorted(range(len(p)), key=lambda i: -warm[i]):
        kept.append(place)
        if sum(warm[i] for i in kept) >= top_p:
            break
    total = sum(warm[i] for i in kept)
    return [warm[i] / total if i in kept else 0.0 for i in range(len(p))]


@pytest.mark.parametrize("top_p", [0.0, 0.2, 0.55, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 2.0])
def test_the_distribution_is_the_plain_one(temperature: float, top_p: float) -> None:
    log_p = (2 * torch.randn(4, 9, generator=torch.Generator().manual_seed(5))).log_softmax(-1)
    together = torch.tensor([1.0, temperature, 0.5, temperature], dtype=torch.float64)
    nuclei = torch.tensor([1.0, top_p, 0.3, top_p], dtype=torch.float64)
    found = sampled_distribution(log_p.double(), temperature=together, top_p=nuclei)
    for row, p in enumerate(log_p.double().exp().tolist()):
        expected = reference(p, float(together[row]), float(nuclei[row]))
        assert found[row].tolist() == pytest.approx(expected, abs=1e-7)
    assert top_p < 1 or bool((found[1] > 0).all())
    assert top_p > 0 or (found[1] > 0).sum() == 1


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (1.5, 0.8)])
def test_texts_come_as_often_as_the_mixture_says(temperature: float, top_p: float) -> None:
    """Two tokens of three experts with weights, 4000 requests of one batch, against probabilities by hand."""
    bank, n = Chain(experts=3, vocabulary=4, seed=2), 4000
    weights = ROWS.weight[ROWS.sample == 0].tolist()
    rows = Rows(
        sample=torch.arange(n).repeat(3),
        expert=torch.arange(3).repeat_interleave(n),
        weight=torch.tensor(weights).repeat_interleave(n),
    )
    each = [Decoding(max_new=2, temperature=temperature, top_p=top_p, seed=i) for i in range(n)]
    texts = decode(bank, start_of(0, 3 * n), torch.ones(3 * n, 1, dtype=torch.bool), rows, each=each, end_id=9)

    def mixed(past: list[int]) -> list[float]:
        state = torch.zeros(3)
        for word in past:
            state = state * 1.7 + word + 1
        p = bank.logits(state[:, None], torch.arange(3)).softmax(-1)
        return reference((torch.tensor(weights)[:, None] * p).sum(0).tolist(), temperature, top_p)

    counts = Counter(map(tuple, texts))
    ruled_out = 0
    for first, second in itertools.product(range(4), repeat=2):
        p = mixed([])[first] * mixed([first])[second]
        assert abs(counts[first, second] / n - p) < 4 * math.sqrt(p * (1 - p) / n) + 1e-9
        ruled_out += p == 0
    assert len(counts) > 3 and (top_p == 1 or ruled_out > 0)


def wishes() -> list[Decoding]:
    """Ten requests, no two alike."""
    stop = StopWords(["a"], codec=codecs()[0])
    return [
        Decoding(max_new=12),
        Decoding(max_new=12, temperature=1.0, seed=3),
        Decoding(max_new=7, temperature=2.0, top_p=0.9, seed=3),
        Decoding(max_new=12, temperature=0.5, seed=2**40),
        Decoding(max_new=2),
        Decoding(max_new=12, temperature=1.5, seed=-4, stop=stop),
        Decoding(max_new=12, stop=stop),
        Decoding(max_new=9, temperature=1.0, top_p=0.5, seed=0),
        Decoding(max_new=12, temperature=1.0, seed=4),
        Decoding(max_new=1, temperature=1.0, seed=5),
    ]


def test_an_answer_does_not_depend_on_its_batch(model: RSMoE) -> None:
    batch, each = batch_of(), wishes()
    options: dict[str, Any] = {"end_id": END, "max_new": 12}
    together = model.generate(batch, each=each, **options)
    for places in ([0], [1], [3, 8], [9, 7, 5, 2], list(reversed(range(10)))):
        some = model.generate(batch.take(places), each=[each[p] for p in places], **options)
        assert some == [together[p] for p in places]
    greedy = model.generate(batch, **options)
    assert together[0] == greedy[0] and together[4] == greedy[4][:2]
    assert [len(ids) for ids in together] <= [one.max_new for one in each]
    assert sum(a != b for a, b in zip(together, greedy, strict=True)) >= 5


def test_seeds(model: RSMoE) -> None:
    batch = batch_of().take([0] * 4)

    def drawn(*seeds: int | None) -> list[list[int]]:
        each = [Decoding(max_new=12, temperature=1.0, seed=seed) for seed in seeds]
        return model.generate(batch, end_id=END, max_new=12, each=each)

    first = drawn(1, 2, 1, 3)
    assert first[0] == first[2] and len({tuple(ids) for ids in first}) == 3
    assert drawn(3, 1, 2, 2) == [first[3], first[0], first[1], first[1]]
    free = [tuple(ids) for _ in range(2) for ids in drawn(None, None, None, None)]
    assert len(set(free)) > 4  # two short answers may be the same by chance


def test_the_smallest_nucleus_is_greedy(model: RSMoE) -> None:
    batch = batch_of()
    each = [Decoding(max_new=8, temperature=1.7, top_p=0.0)] * len(batch)
    greedy = model.generate(batch, end_id=END, max_new=8)
    assert model.generate(batch, end_id=END, max_new=8, each=each) == greedy
    cold = [Decoding(max_new=8, temperature=1e-3)] * len(batch)
    assert model.generate(batch, end_id=END, max_new=8, each=cold) == greedy


def test_sampling_calls_back_with_every_token(model: RSMoE) -> None:
    batch, each = batch_of(), wishes()
    words: list[list[int]] = [[] for _ in each]

    def heard(new: Any) -> None:
        for text, token in zip(words, new, strict=True):
            text += [] if token is None else [token]

    texts = model.generate(batch, end_id=END, max_new=12, each=each, on_token=heard)
    assert words == texts and len({len(text) for text in texts}) > 2


def test_rounding_draws_nothing_that_is_impossible() -> None:
    """In fp32 the largest numbers below 1 are 1, which is the total before the last tokens are reached."""
    p = torch.tensor([[0.0, 0.3, 0.7, 0.0, 0.0]])
    assert [int(_draw(p, torch.tensor([number]))) for number in (0.0, 0.29, 0.31, 1.0)] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1: expected a number from 0 to 2"),
        ({"temperature": 2.5}, "temperature=2.5: expected a number from 0 to 2"),
        ({"temperature": math.nan}, "temperature=nan: expected"),
        ({"top_p": 1.1}, "top_p=1.1: expected a number from 0 to 1"),
        ({"seed": 2**63}, "seed=9223372036854775808: expected a whole number from"),
        ({"seed": 0.5}, "seed=0.5: expected a whole number from"),
        ({"max_new": 0}, "max_new=0: expected a whole number from 1"),
    ],
)
def test_values_out_of_range_are_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as error:
        Decoding(**wrong)
    assert "\n" not in str(error.value)


def test_beams_are_not_sampled(model: RSMoE) -> None:
    batch = batch_of()
    with pytest.raises(UserError, match=r"^temperature=0.7 draws tokens, beams=3 searches: give beams=1, or"):
        model.generate(batch, end_id=END, beams=3, each=[Decoding(), *[Decoding(temperature=0.7)] * (len(batch) - 1)])
