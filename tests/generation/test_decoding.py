"""Greedy and beam decoding over the cache, against loops that re-encode everything and against trying every text."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from support.chains import ROWS, Chain, Letters, start_of
from support.models import batch_of, codecs, tiny_model
from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.generation.decoding import Decoding, decode, mixed_log_probability
from rsmoe.generation.stop_words import StopWords
from rsmoe.model import RSMoE
from rsmoe.router.routing import Rows

END = codecs()[0].eos_id
assert END is not None


@pytest.fixture(scope="module")
def model() -> RSMoE:
    return tiny_model()


@pytest.fixture(scope="module")
def threshold() -> RSMoE:
    """Every sample has a number of experts of its own."""
    return tiny_model("choice.threshold=0.15")


def prefixes(model: RSMoE, batch: Batch) -> tuple[Tensor, Tensor, Rows]:
    with torch.no_grad():
        perception = model.perceive(batch)
        rows = perception.routing.rows()
        embeds, mask, _ = model.start(batch, perception.prefix, rows)
    return embeds, mask, rows


@torch.no_grad()
def log_probabilities(model: RSMoE, start: Tensor, mask: Tensor, rows: Rows, texts: Tensor, samples: int) -> Tensor:
    """(B, L, V) of the next token after each prefix of ``texts`` (B, L), everything encoded anew, no cache."""
    embeds = torch.cat([start, model.bank.embed(texts[rows.sample], rows.expert)], dim=1)
    seen = torch.cat([mask, torch.ones_like(texts[rows.sample], dtype=torch.bool)], dim=1)
    hidden = model.bank(embeds, seen, rows.expert).hidden[:, start.shape[1] - 1 :]
    logits = model.bank.logits(hidden, rows.expert)  # (R, L + 1, V)
    return torch.stack(
        [mixed_log_probability(logits[:, i], rows, samples, 1)[:, 0] for i in range(logits.shape[1])], dim=1
    )


@pytest.mark.parametrize("kind", ["model", "threshold"])
def test_greedy_equals_re_encoding_everything(kind: str, request: pytest.FixtureRequest) -> None:
    model: RSMoE = request.getfixturevalue(kind)
    batch, new = batch_of(), 10
    start, mask, rows = prefixes(model, batch)
    counts = torch.bincount(rows.sample)
    assert kind == "model" or len(set(counts.tolist())) > 1
    texts = torch.empty(len(batch), 0, dtype=torch.long)
    for _ in range(new):
        best = log_probabilities(model, start, mask, rows, texts, len(batch))[:, -1].argmax(-1)
        texts = torch.cat([texts, best[:, None]], dim=1)
    naive = [ids[: ids.index(END)] if END in ids else ids for ids in texts.tolist()]
    assert model.generate(batch, end_id=END, beams=1, max_new=new) == naive
    assert len({tuple(ids) for ids in naive}) > 3  # the answers are not all the same


def exhaustive(
    bank: Chain, rows: Rows, sample: int, *, end: int, most: int, penalty: float, stop: tuple[int, ...] = ()
) -> tuple[float, list[int]]:
    """The best ended text of at most ``most`` tokens, the end token included, by trying all; ``stop`` ends one too."""
    own = Rows(
        sample=torch.zeros(int((rows.sample == sample).sum()), dtype=torch.long),
        expert=rows.expert[rows.sample == sample],
        weight=rows.weight[rows.sample == sample],
    )
    vocabulary = bank.table.shape[-1]
    words = [w for w in range(vocabulary) if w not in (end, *stop)]
    found = []
    for length in range(most):
        for text, last in itertools.product(itertools.product(words, repeat=length), (end, *stop)):
            out = bank(
                start_of(sample, len(own.expert)), torch.ones(len(own.expert), 1, dtype=torch.bool), own.expert, "new"
            )
            total = 0.0
            for word in (*text, last):
                p = mixed_log_probability(bank.logits(out.hidden[:, -1], own.expert), own, 1, 1)[0, 0]
                total += float(p[word])
                step = torch.full((len(own.expert), 1), word)
                out = bank(bank.embed(step, own.expert), torch.ones_like(step, dtype=torch.bool), own.expert, out.cache)
            found.append((total / (length + 1) ** penalty, [*text, last][: length + (last != end)]))
    return max(found)


def search(
    bank: Chain, rows: Rows = ROWS, *, max_new: int = 64, each: list[Decoding] | None = None, **options: Any
) -> list[list[int]]:
    starts = torch.stack([start_of(s, 1)[0] for s in rows.sample.tolist()])
    mask = torch.ones(len(rows.sample), 1, dtype=torch.bool)
    each = each or [Decoding(max_new=max_new)] * (int(rows.sample.max()) + 1)
    return decode(bank, starts, mask, rows, each=each, end_id=1, **options)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_what_trying_every_text_finds(seed: int, penalty: float) -> None:
    bank = Chain(experts=3, vocabulary=4, seed=seed)
    wide = search(bank, beams=64, max_new=4, length_penalty=penalty)
    for sample, text in enumerate(wide):
        assert text == exhaustive(bank, ROWS, sample, end=1, most=4, penalty=penalty)[1]


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_ends_at_stop_words(seed: int) -> None:
    bank = Chain(experts=3, vocabulary=4, seed=seed)
    stop = Decoding(stop=StopWords(["c"], codec=Letters()), max_new=4)
    plain = Decoding(max_new=3)
    found = search(bank, beams=64, max_new=9, each=[stop, plain, stop])
    for sample, own in enumerate([(2,), (), (2,)]):
        most = (4, 3, 4)[sample]
        assert found[sample] == exhaustive(bank, ROWS, sample, end=1, most=most, penalty=1.0, stop=own)[1]


def score(model: RSMoE, batch: Batch, place: int, ids: list[int], end: int) -> float:
    """Mean log-probability of an answer and its end."""
    alone = batch.take([place])
    start, mask, rows = prefixes(model, alone)
    text = torch.tensor([[*ids, end]])
    p = log_probabilities(model, start, mask, rows, text[:, :-1], 1)[0]
    return float(p.gather(1, text.T).mean())


@pytest.mark.parametrize("kind", ["model", "threshold"])
def test_beams_score_no_worse_than_greedy(kind: str, request: pytest.FixtureRequest) -> None:
    model: RSMoE = request.getfixturevalue(kind)
    batch = batch_of()
    endless = model.generate(batch, end_id=END, beams=1, max_new=12)
    # a random model never says its end token: take the word that most answers come to
    later = Counter(word for ids in endless for word in {w for w in ids if w not in ids[:2]})
    end = later.most_common(1)[0][0]
    greedy, beam = (model.generate(batch, end_id=end, beams=k, max_new=30) for k in (1, 3))
    ended = [i for i in range(len(batch)) if len(greedy[i]) < 30 and len(beam[i]) < 30]
    assert len(ended) >= 3
    for place in ended:
        assert score(model, batch, place, beam[place], end) >= score(model, batch, place, greedy[place], end) - 1e-5
    assert beam != greedy


@pytest.mark.parametrize("beams", [1, 3])
def test_samples_do_not_influence_each_other(beams: int, threshold: RSMoE) -> None:
    batch = batch_of()
    together = threshold.generate(batch, end_id=END, beams=beams, max_new=12)
    for places in ([0], [7, 2], [4, 3, 9, 1]):
        assert threshold.generate(batch.take(places), end_id=END, beams=beams, max_new=12) == [
            together[p] for p in places
        ]


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("most", [1, 3])
def test_no_answer_is_longer_than_asked(beams: int, most: int, model: RSMoE) -> None:
    written = model.generate(batch_of(), end_id=END, beams=beams, max_new=most)
    assert max(map(len, written)) == most
    assert all(END not in ids for ids in written)


def test_beams_share_no_cache_by_accident(model: RSMoE) -> None:
    """Twice the same call gives the same texts: nothing is written into what the first call left."""
    batch = batch_of()
    first = model.generate(batch, end_id=END, beams=3, max_new=12)
    assert model.generate(batch, end_id=END, beams=3, max_new=12) == first


def test_separate_language_models_decode_as_the_shared_one() -> None:
    experts = "expert=[theme,object,vqa,change]"
    shared, separate = (tiny_model(f"bank={b}", experts=experts) for b in ("shared", "separate"))
    state = shared.state_dict()
    own = separate.state_dict()
    for name in own:
        if name.startswith("bank.banks."):
            _, _, index, rest = name.split(".", 3)
            value = state[f"bank.{rest}"]
            own[name] = value[int(index)][None] if "lora_" in name else value
        else:
            own[name] = state[name]
    separate.load_state_dict(own)
    batch = batch_of("caption", "vqa", "change_caption")
    for beams in (1, 3):
        a, b = (m.generate(batch, end_id=END, beams=beams, max_new=8) for m in (shared, separate))
        assert a == b


def test_greedy_decoding_calls_back_with_every_token(model: RSMoE) -> None:
    batch = batch_of()
    start, mask, rows = prefixes(model, batch)
    words: list[list[int]] = [[] for _ in range(len(batch))]
    steps: list[list[int | None]] = []

    def heard(new: Any) -> None:
        steps.append(list(new))
        for text, token in zip(words, new, strict=True):
            if token is not None:
                text.append(token)

    options: dict[str, Any] = {"each": [Decoding(max_new=9)] * len(batch), "end_id": END}
    most_common = Counter(i for text in decode(model.bank, start, mask, rows, **options) for i in text).most_common()
    options["end_id"] = most_common[-1][0]  # so that some texts end before the others
    texts = decode(model.bank, start, mask, rows, **options, on_token=heard)
    assert words == texts and len({len(text) for text in texts}) > 1
    assert len(steps) == 9 and all(
        a is not None or b is None for one, two in itertools.pairwise(steps) for a, b in zip(one, two, strict=True)
    )
    steps.clear()
    decode(model.bank, start, mask, rows, **options, beams=2, on_token=heard)
    assert steps == []
