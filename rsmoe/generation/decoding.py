"""Batched decoding, greedy, sampled or by beams: all experts of a sample advance together over one key-value cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from rsmoe.checks.ranges import Positive, Share, Temperature
from rsmoe.errors import UserError
from rsmoe.experts import Bank
from rsmoe.generation.sampler import Sampler
from rsmoe.generation.stop_words import StopWords
from rsmoe.router.routing import Rows
from rsmoe.settings.model import check_fields

OnToken = Callable[[Sequence[int | None]], None]
"""Called with the new token of each of B samples, None for one that has none (it has ended, or another was faster at an
upstream server); not by beam search."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the answer to one request is decoded.

    Raises:
        UserError: a value out of its range.
    """

    max_new: Positive = 64
    """Most tokens."""
    temperature: Temperature = 0.0
    """0 takes the most probable token; above it tokens are drawn from softmax(log p / temperature)."""
    top_p: Share = 1.0
    """Share of the probability that is drawn from, the most probable tokens first; 1 is all of it."""
    seed: Annotated[int, Ge(-(2**63)), Le(2**63 - 1)] | None = None
    """Of what is drawn; None: another one every time."""
    stop: StopWords | None = None
    """What ends the answer beside the end token."""

    def __post_init__(self) -> None:
        """Checks every value."""
        check_fields(self)


@torch.no_grad()
def decode(
    bank: Bank,
    embeds: Tensor,
    mask: Tensor,
    rows: Rows,
    *,
    each: Sequence[Decoding],
    end_id: int,
    beams: int = 1,
    length_penalty: float = 1.0,
    on_token: OnToken | None = None,
) -> list[list[int]]:
    """Decodes a text for each of B samples from what its rows make of the next token, p(y_t) = sum_e w_e p_e.

    With ``beams=1`` the next token is the most probable one, or is drawn (`Sampler`); with more, the text is sought
    that has the highest log-probability over length**penalty.

    Args:
        embeds: (R, S, D) prefix of every row; mask: (R, S) bool.
        each: settings of every sample.
        length_penalty: as in `transformers`: scores of beams are divided by length**penalty.
        on_token: see `OnToken`.

    Returns:
        B lists of token ids, without the end token; the last ones of a text that its stop words ended may be theirs.

    Raises:
        UserError: more than one beam for a sample with a temperature.
    """
    warm = max((one.temperature for one in each), default=0.0)
    if beams > 1 and warm > 0:
        raise UserError(f"temperature={warm:g} draws tokens, beams={beams} searches: give beams=1, or temperature=0")
    texts = _Texts(bank, embeds, mask, rows, samples=len(each), beams=beams)
    limits = [one.max_new for one in each]
    stops = [one.stop for one in each]
    if beams > 1:
        return _search(texts, end_id=end_id, limits=limits, stops=stops, length_penalty=length_penalty)
    return _step(texts, Sampler(each, device=embeds.device), end_id=end_id, limits=limits, stops=stops, heard=on_token)


class _Texts:
    """k texts of each of B samples, as far as they are written; row r of text k has place r * beams + k, so that rows
    stay sorted by expert."""

    def __init__(
        self,
        bank: Bank,
        embeds: Tensor,
        mask: Tensor,
        rows: Rows,
        *,
        samples: int,
        beams: int,
    ) -> None:
        self.bank, self.rows, self.samples, self.beams = bank, rows, samples, beams
        self.expert = rows.adapters.repeat_interleave(beams, 0)
        first = bank(embeds, mask, rows.adapters, cache="new")
        self._dtype, self._cache = embeds.dtype, first.cache
        if beams > 1:
            spread = torch.arange(len(rows.sample), device=embeds.device).repeat_interleave(beams)
            self._cache = bank.select(first.cache, rows.adapters, spread)
        self._state = first.hidden[:, -1].repeat_interleave(beams, 0)  # (R*k, D)
        self._seen = mask.repeat_interleave(beams, 0)

    def log_probability(self) -> Tensor:
        """(B, k, V) of the next token."""
        logits = self.bank.logits(self._state, self.expert)
        return mixed_log_probability(logits, self.rows, self.samples, self.beams)

    def append(self, token: Tensor, *, parent: Tensor | None = None) -> None:
        """Goes on with tokens (B, k), after the texts ``parent`` (B, k) of each sample; None: each after its own."""
        if parent is not None:
            place = torch.arange(len(self.rows.sample), device=token.device)[:, None] * self.beams
            chosen = (place + parent[self.rows.sample]).flatten()  # (R*k,)
            self._cache, self._seen = self.bank.select(self._cache, self.expert, chosen), self._seen[chosen]
        self._seen = torch.cat([self._seen, torch.ones_like(self._seen[:, :1])], dim=1)
        last = self.bank.embed(token[self.rows.sample].flatten()[:, None], self.expert)  # (R*k, 1, D)
        out = self.bank(last.to(self._dtype), self._seen, self.expert, cache=self._cache)
        self._state, self._cache = out.hidden[:, -1], out.cache


def _step(
    texts: _Texts,
    sampler: Sampler,
    *,
    end_id: int,
    limits: Sequence[int],
    stops: Sequence[StopWords | None],
    heard: OnToken | None,
) -> list[list[int]]:
    """One text a sample, token by token."""
    written: list[list[int]] = [[] for _ in limits]
    going = [True] * len(limits)
    while True:
        token = sampler(texts.log_probability()[:, 0])
        new = [int(one) if on and one != end_id else None for one, on in zip(token.tolist(), going, strict=True)]
        for s, one in enumerate(new):
            if one is not None:
                written[s].append(one)
            stop = stops[s]
            full = len(written[s]) >= limits[s]
            going[s] = one is not None and not full and not (stop is not None and stop.found(written[s]))
        if heard is not None:
            heard(new)
        if not any(going):
            return written
        texts.append(token[:, None])


def _search(
    texts: _Texts, *, end_id: int, limits: Sequence[int], stops: Sequence[StopWords | None], length_penalty: float
) -> list[list[int]]:
    """Beam search: k texts a sample are kept, until k have ended and none of the others can be better."""
    b, k, device = texts.samples, texts.beams, texts.expert.device
    score = torch.full((b, k), float("-inf"), device=device)
    score[:, 0] = 0.0  # all beams start equal: only one may spread
    text = torch.empty(b, k, 0, dtype=torch.long, device=device)
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(b)]
    going = [True] * b
    for step in range(max(limits, default=0)):
        total = score[..., None] + texts.log_probability()  # (b, k, V)
        vocabulary = total.shape[-1]
        # 2k candidates: even if k of them end, k can go on
        value, place = total.flatten(1).topk(2 * k, dim=1)
        parent, token = place // vocabulary, place % vocabulary
        ends = token == end_id
        for s, stop in enumerate(stops):
            if stop is not None and going[s]:
                whole = torch.cat([text[s, parent[s]], token[s, :, None]], dim=1).tolist()
                ends[s] |= torch.tensor([stop.found(words) for words in whole], device=device)
        for s, c in ends.nonzero().tolist():
            if going[s] and c < k and value[s, c] > float("-inf"):
                words = [*text[s, parent[s, c]].tolist(), *([] if token[s, c] == end_id else [int(token[s, c])])]
                finished[s].append((float(value[s, c]) / (step + 1) ** length_penalty, words))
        value = value.masked_fill(ends, float("-inf"))
        score, keep = value.topk(k, dim=1)
        parent, token = parent.gather(1, keep), token.gather(1, keep)
        text = torch.cat([text.gather(1, parent[..., None].expand(b, k, step)), token[..., None]], dim=2)
        for s in range(b):
            best = float(score[s, 0]) / (step + 1) ** length_penalty
            if going[s] and step + 1 == limits[s] and not finished[s]:
                finished[s].append((best, text[s, 0].tolist()))  # no beam has ended
            settled = len(finished[s]) >= k and max(f[0] for f in finished[s]) >= best
            going[s] = going[s] and step + 1 < limits[s] and not settled
        if not any(going):
            break
        texts.append(token, parent=parent)
    return [max(found, key=lambda f: f[0])[1] for found in finished]


def mixed_log_probability(logits: Tensor, rows: Rows, samples: int, beams: int) -> Tensor:
    """(R*k, V) logits of all rows -> (B, k, V) log sum_e w_e p_e, in fp32."""
    p = logits.float().softmax(-1).unflatten(0, (-1, beams)) * rows.weight.float()[:, None, None]  # (R, k, V)
    mixed = p.new_zeros(samples, *p.shape[1:]).index_add_(0, rows.sample, p)
    out: Tensor = mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()
    return out
