"""Captions of change: changed and unchanged pairs apart, and whether a change was reported at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsmoe.data.change.phrases import SAYS_NO_CHANGE
from rsmoe.metrics.captions.caption_scores import CaptionScores, caption_tally
from rsmoe.metrics.captions.tokenize import Tokenizer, whitespace
from rsmoe.metrics.metric import Pairs
from rsmoe.metrics.tally import Tally, beside, ratio

KINDS = ("changed", "unchanged")


class ChangeCaptions(CaptionScores):
    """Caption scores over all pairs, and over the changed and the unchanged ones apart; see `change_caption_tally`.

    Args:
        tokenize, meteor: as for `CaptionScores`.
    """

    family = "change-caption"
    tasks = ("change_caption",)
    lower_is_better = frozenset(("false_alarm", "missed"))
    more = (
        " Changed and unchanged pairs also apart, each as a corpus of its own. presence, false_alarm, missed (x100): a "
        "caption reports no change when it is one of the no-change sentences or a reference of an unchanged pair."
    )
    paper = "Liu et al., RSICC / LEVIR-CC, IEEE TGRS 2022, doi:10.1109/TGRS.2022.3218921"

    def tally(self, pairs: Pairs) -> Tally:
        """One row a pair; raises ValueError for a ``Sample.kind`` that is neither "changed" nor "unchanged"."""
        texts, references = [p.text for _, p in pairs], [s.responses for s, _ in pairs]
        kinds = [s.kind for s, _ in pairs]
        return change_caption_tally(texts, references, kinds, tokenize=self.tokens(), meteor=self.meteor)


def change_caption_tally(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    kinds: Sequence[str],
    *,
    tokenize: Tokenizer,
    meteor: bool = False,
) -> Tally:
    """What each pair of images adds to the scores of change captions.

    Half of the field's test sets are unchanged pairs with one of five sentences, so a score over all pairs says little
    about change. Each subset is a corpus of its own, as in the field's scripts; CIDEr-D of the unchanged pairs is 0 by
    construction (every image has the same references) and is left out, and so is S*m, which would average it.

    Whether a caption reports a change follows from its text alone: it does not when it is one of the no-change
    sentences, or any reference of an unchanged pair of this corpus. An empty caption reports nothing: it is a false
    alarm on an unchanged pair and a miss on a changed one.

    Args:
        hypotheses: n captions.
        references: of each, one or more.
        kinds: "changed" or "unchanged" of each.
        tokenize: text -> tokens.
        meteor: add METEOR and S*m, the mean of bleu4, meteor, rouge_l and cider_d.

    Returns:
        the numbers of `rsmoe.metrics.captions.caption_scores.caption_tally`, again as ``<key>/changed`` and
        ``<key>/unchanged`` for subsets that have a pair; ``presence`` (share of pairs where change was rightly reported
        or rightly not), ``false_alarm`` (share of the unchanged pairs not called unchanged), ``missed`` (share of the
        changed pairs not reported as changed), 0 to 1.

    Raises:
        ValueError: no pair, a pair without references, or another kind.
    """
    _check(kinds)
    parts = []
    for kind in KINDS:
        if places := [i for i, own in enumerate(kinds) if own == kind]:
            texts, theirs = [hypotheses[i] for i in places], [references[i] for i in places]
            part = caption_tally(texts, theirs, tokenize=tokenize, meteor=meteor).part(kind, places, len(kinds))
            parts.append(_without(part, ("cider_d/unchanged", "s_m/unchanged")))
    whole = caption_tally(hypotheses, references, tokenize=tokenize, meteor=meteor)
    return beside(whole, *parts, _presence(hypotheses, references, kinds))


def _check(kinds: Sequence[str]) -> None:
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"kinds of change captions are {KINDS}, not {sorted(unknown)}")


def _without(tally: Tally, names: Sequence[str]) -> Tally:
    return Tally(rows=tally.rows, finish=lambda sums: {k: v for k, v in tally.finish(sums).items() if k not in names})


def _presence(hypotheses: Sequence[str], references: Sequence[Sequence[str]], kinds: Sequence[str]) -> Tally:
    said = {tuple(whitespace(text)) for text in SAYS_NO_CHANGE}
    said |= {
        tuple(whitespace(t)) for texts, k in zip(references, kinds, strict=True) if k == "unchanged" for t in texts
    }
    table = np.zeros((len(kinds), len(KINDS), 2))  # pairs, wrong ones
    for i, (text, kind) in enumerate(zip(hypotheses, kinds, strict=True)):
        tokens = tuple(whitespace(text))
        table[i, KINDS.index(kind)] = 1, not tokens or (tokens in said) != (kind == "unchanged")
    names = {"missed": KINDS.index("changed"), "false_alarm": KINDS.index("unchanged")}
    present = {name: place for name, place in names.items() if table[:, place, 0].any()}

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        pairs, wrong = np.moveaxis(sums.reshape(*sums.shape[:-1], len(KINDS), 2), -1, 0)
        rates = {name: ratio(wrong[..., place], pairs[..., place]) for name, place in present.items()}
        return {"presence": 1 - ratio(wrong.sum(axis=-1), pairs.sum(axis=-1)), **rates}

    return Tally(rows=table.reshape(len(kinds), -1), finish=finish)
