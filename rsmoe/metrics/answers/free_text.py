"""Answers in free words: exact, normalised, and by the words that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.metrics.answers.normalise import normalise
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio

_NUMBERS = ("exact", "normalised", "f1")


class FreeText(Metric):
    """Three grades of agreement of an answer with the best of its references, over questions and per type.

    - ``exact``: the same characters, but for spaces at the ends;
    - ``normalised``: the same after `answers.normalise` ("Yes." and "yes", "five" and "5");
    - ``f1``: of the words of both, see `token_f1` ("There are seven planes in the image." against "7").

    An empty answer is 0 in all three, whatever the reference, and a parse failure.
    """

    protocol = Protocol(
        id="vqa/free-text@1",
        title="Exact match and word F1 of answers",
        tasks=("vqa", "change_vqa"),
        sentence="Best of the references, x100, over questions and per type: exact (same characters), normalised (as "
        "vqa/exact@1), f1 of the normalised words. An empty answer is 0 in all.",
        source="ours, for RSIEval (arXiv 2307.15266), which publishes no scorer; f1: SQuAD, arXiv 1606.05250",
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a question."""
        return free_text_tally([free_text_row(p.text, s.responses, s.kind) for s, p in pairs])


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the words of two normalised texts, each word as often as it occurs; 0 where they share none.

    Rajpurkar et al., "SQuAD", EMNLP 2016, with `answers.normalise` in place of its own, which deletes every article.
    """
    mine, theirs = Counter(prediction.split()), Counter(reference.split())
    return 2 * (mine & theirs).total() / max(mine.total() + theirs.total(), 1)


def free_text_row(prediction: str, references: Sequence[str], kind: str) -> list[Any]:
    """One question, as `free_text_tally` reads it: type, exact, normalised, f1, unreadable."""
    answer = normalise(prediction)
    if not answer:
        return [kind or "other", 0, 0, 0.0, 1]
    right = [normalise(text) for text in references]
    written = prediction.strip() in {text.strip() for text in references}
    return [kind or "other", int(written), int(answer in right), max(token_f1(answer, text) for text in right), 0]


def free_text_tally(rows: Sequence[list[Any]]) -> Tally:
    """exact, normalised and f1 of rows from `free_text_row`, and each per type as "f1/<type>"; n and parse_failures."""
    if not rows:
        raise ValueError("no question was added")
    kinds = sorted({row[0] for row in rows})
    place = {kind: i for i, kind in enumerate(kinds, start=1)}
    table = np.zeros((len(rows), 1 + len(kinds), 5))  # n, the three numbers, unreadable
    for i, (kind, *numbers) in enumerate(rows):
        table[i, [0, place[kind]]] = 1, *numbers

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        columns = sums.reshape(*sums.shape[:-1], 1 + len(kinds), 5)
        found: dict[str, np.ndarray] = {}
        for suffix, i in {"": 0, **{f"/{kind}": i for kind, i in place.items()}}.items():
            n = columns[..., i, 0]
            found |= {name + suffix: ratio(columns[..., i, j], n) for j, name in enumerate(_NUMBERS, start=1)}
            found |= {f"n{suffix}": n, f"parse_failures{suffix}": columns[..., i, 4]}
        return found

    return Tally(rows=table.reshape(len(rows), -1), finish=finish)
