"""Batched greedy and beam decoding, all experts of a sample advancing together over one key-value cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rsmoe.experts import Bank
from rsmoe.router.routing import Rows

OnToken = Callable[[Sequence[int | None]], None]
"""Called after every step of greedy decoding with the new token of each of B samples, None for one that has ended."""
Fuse = Callable[[Tensor, Tensor, Rows, int, int], Tensor]
"""(R*k, V) logits and the (R*k, D) states that they were read from, of rows of B samples with k beams each -> (B, k, V)
log-probabilities of the next token."""


@torch.no_grad()
def decode(
    bank: Bank,
    embeds: Tensor,
    mask: Tensor,
    rows: Rows,
    *,
    samples: int,
    end_id: int,
    beams: int = 1,
    max_new: int = 64,
    length_penalty: float = 1.0,
    on_token: OnToken | None = None,
    fuse: Fuse | None = None,
) -> list[list[int]]:
    """Finds for each of B samples the text with the highest fused log-probability over length**penalty.

    With ``beams=1`` this is greedy decoding.
    Row r of beam k has place r * beams + k, so the rows stay sorted by expert.

    Args:
        embeds: (R, S, D) prefix of every row; mask: (R, S) bool.
        samples: B.
        length_penalty: as in `transformers`: scores are divided by length**penalty.
        on_token: see `OnToken`; not called with beams > 1, where the text is known only at the end.
        fuse: how the rows of a sample share the next token; None: p(y_t) = sum_e w_e p_e(y_t | y_<t).

    Returns:
        B lists of token ids, without the end token.
    """
    device, b, k = embeds.device, samples, beams
    first = bank(embeds, mask, rows.adapters, cache="new")
    state, cache = first.hidden[:, -1], bank.select(first.cache, rows.adapters, _spread(len(rows.sample), k, device))
    state = state.repeat_interleave(k, 0)  # (R*k, D)
    seen = mask.repeat_interleave(k, 0)
    expert = rows.adapters.repeat_interleave(k, 0)
    score = torch.full((b, k), float("-inf"), device=device)
    score[:, 0] = 0.0  # all beams start equal: only one may spread
    text = torch.empty(b, k, 0, dtype=torch.long, device=device)
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(b)]
    open_ = torch.ones(b, dtype=torch.bool, device=device)
    for step in range(max_new):
        logits = bank.logits(state, expert)
        fused = mixed_log_probability(logits, rows, b, k) if fuse is None else fuse(logits, state, rows, b, k)
        total = score[..., None] + fused  # (b, k, V)
        vocabulary = total.shape[-1]
        # 2k candidates: even if k of them end, k can go on
        value, place = total.flatten(1).topk(2 * k, dim=1)
        parent, token = place // vocabulary, place % vocabulary
        ends = token == end_id
        for s, c in (ends & open_[:, None]).nonzero().tolist():
            if c < k and value[s, c] > float("-inf"):
                words = text[s, parent[s, c]].tolist()
                finished[s].append((float(value[s, c]) / (step + 1) ** length_penalty, words))
        value = value.masked_fill(ends, float("-inf"))
        score, keep = value.topk(k, dim=1)
        parent, token = parent.gather(1, keep), token.gather(1, keep)
        text = torch.cat([text.gather(1, parent[..., None].expand(b, k, step)), token[..., None]], dim=2)
        for s in range(b):
            best_open = float(score[s, 0]) / (step + 1) ** length_penalty
            if len(finished[s]) >= k and max(f[0] for f in finished[s]) >= best_open:
                open_[s] = False
        if on_token is not None and k == 1:
            on_token([new if going else None for new, going in zip(token[:, 0].tolist(), open_.tolist(), strict=True)])
        if not bool(open_.any()) or step == max_new - 1:
            break
        chosen = (torch.arange(len(rows.sample), device=device)[:, None] * k + parent[rows.sample]).flatten()  # (R*k,)
        cache = bank.select(cache, expert, chosen)
        seen = torch.cat([seen[chosen], torch.ones_like(seen[:, :1])], dim=1)
        last = token[rows.sample].flatten()[:, None]  # (R*k, 1)
        out = bank(bank.embed(last, expert).to(embeds.dtype), seen, expert, cache=cache)
        state, cache = out.hidden[:, -1], out.cache
    for s in range(b):
        if not finished[s]:  # no beam ended within max_new
            finished[s].append((0.0, text[s, 0].tolist()))
    return [max(found, key=lambda f: f[0])[1] for found in finished]


def mixed_log_probability(
    logits: Tensor, rows: Rows, samples: int, beams: int, *, weight: Tensor | None = None
) -> Tensor:
    """(R*k, V) logits of all rows -> (B, k, V) log sum_e w_e p_e, in fp32; ``weight`` (R, k), else the router's."""
    weight = rows.weight[:, None] if weight is None else weight
    p = logits.float().softmax(-1).unflatten(0, (-1, beams)) * weight.float()[..., None]  # (R, k, V)
    mixed = p.new_zeros(samples, *p.shape[1:]).index_add_(0, rows.sample, p)
    return mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()


def _spread(rows: int, beams: int, device: torch.device) -> Tensor:
    return torch.arange(rows, device=device).repeat_interleave(beams)
