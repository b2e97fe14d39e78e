"""Captions of change: changed and unchanged pairs apart, and whether a change was reported at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rsmoe.metrics.captions import caption_scores
from rsmoe.metrics.rows import RowMetric
from rsmoe.metrics.tokenize import Tokenizer, tokenizer, whitespace

NO_CHANGE = (
    "the scene is the same as before",
    "there is no difference",
    "the two scenes seem identical",
    "no change has occurred",
    "almost nothing has changed",
    "no change is occurred",
    "almost nothing is changed",
)
"""The sentences for unchanged pairs of LEVIR-CC (the first five) and SECOND-CC."""

KINDS = ("changed", "unchanged")


class ChangeCaptions(RowMetric):
    """Caption scores over all pairs, and over the changed and the unchanged ones apart.

    Half of the field's test sets are unchanged pairs with one of five sentences, so a score over all pairs says little
    about change. Each subset is a corpus of its own, as in the field's scripts; CIDEr-D of the unchanged pairs is 0 by
    construction (every image has the same references) and is left out.

    Whether a caption reports a change follows from its text alone: it does not when it is one of the no-change
    sentences (`NO_CHANGE`, or any reference of an unchanged pair of this corpus). An empty caption reports nothing: it
    is a false alarm on an unchanged pair and a miss on a changed one.

    Args:
        tokenize: as for `rsmoe.metrics.captions.Caption`.
        no_change: sentences that say "no change".
        kwargs: of ``torchmetrics.Metric``.
    """

    def __init__(
        self, *, tokenize: str | Tokenizer = "whitespace", no_change: Sequence[str] = NO_CHANGE, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._tokenize = tokenizer(tokenize) if isinstance(tokenize, str) else tokenize
        self._no_change = {tuple(whitespace(s)) for s in no_change}

    def update(self, predictions: Sequence[str], references: Sequence[Sequence[str]], kinds: Sequence[str]) -> None:
        """Adds one caption, its references and "changed" or "unchanged" per pair; ValueError for another kind."""
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"kinds of change captions are {KINDS}, not {sorted(unknown)}")
        rows = zip(predictions, references, kinds, strict=True)
        self.append([text, sorted(texts), kind] for text, texts, kind in rows)

    def compute(self) -> dict[str, float]:
        """Scores of all pairs and of each subset that has any.

        Returns:
            the keys of `caption_scores`, again as ``<key>/changed`` and ``<key>/unchanged``; ``presence`` (share of
            pairs where change was rightly reported or rightly not), ``false_alarm`` (share of the unchanged pairs not
            called unchanged), ``missed`` (share of the changed pairs not reported as changed), 0 to 1.

        Raises:
            ValueError: no pair was added.
        """
        rows = self.rows()
        scores = self._scores(rows)
        for kind in KINDS:
            if subset := [row for row in rows if row[2] == kind]:
                part = self._scores(subset)
                if kind == "unchanged":
                    del part["cider_d"]
                scores |= {f"{name}/{kind}": value for name, value in part.items()}
        return scores | self._presence(rows)

    def _scores(self, rows: list[list[Any]]) -> dict[str, float]:
        return caption_scores([r[0] for r in rows], [r[1] for r in rows], tokenize=self._tokenize)

    def _presence(self, rows: list[list[Any]]) -> dict[str, float]:
        said = self._no_change | {tuple(whitespace(t)) for _, texts, kind in rows if kind == "unchanged" for t in texts}
        wrong: dict[str, list[bool]] = {kind: [] for kind in KINDS}
        for text, _, kind in rows:
            tokens = tuple(whitespace(text))
            wrong[kind].append(not tokens or (tokens in said) != (kind == "unchanged"))
        names = {"changed": "missed", "unchanged": "false_alarm"}
        rates = {names[kind]: sum(w) / len(w) for kind, w in wrong.items() if w}
        return {"presence": 1.0 - sum(map(sum, wrong.values())) / len(rows), **rates}
