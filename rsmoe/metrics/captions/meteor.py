"""METEOR 1.5 of captions with its exact and stem modules, without Java.

The parameters are those of METEOR's English ranking task, which pycocoevalcap uses: alpha 0.85, beta 0.2, gamma 0.6,
delta 0.75, weight 1 of an exact and 0.6 of a stem match. Denkowski and Lavie, "Meteor Universal", WMT 2014;
https://www.cs.cmu.edu/~alavie/METEOR.

**Where it equals the Java scorer, and where not** (1,094 captions of RSICD with 5 references each, scores x100):

- With the same modules (``-m "exact stem"``) and the same function words every caption gets the same score (1e-15).
  Only of references that tie does the program take the first and we the shortest: 0.006 in the corpus score.
- On word ids the program gives 26.14 and this module 26.06: no id has a stem or is a function word, but the table of
  paraphrases knows numbers, and takes some ids for others ("23" for "62") in 36 captions.
- On words the program gives 26.35 and this module 25.43: 0.88 of it are WordNet synonyms and paraphrases, from tables
  of 20 MB that are not part of this library, 0.04 the other list of function words.

So compare METEOR on words with numbers of this library only; `rsmoe.metrics.captions.java_meteor` gives the program's
own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np

from rsmoe.metrics.captions.meteor_alignment import Words, align
from rsmoe.metrics.captions.tokenized import Corpus

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = (1.0, 0.6)

STATISTICS = 6
"""Columns of `meteor_statistics`."""

FUNCTION_WORDS = frozenset(
    (
        "a an the and or but if than as that this these those there it its he him his she her they them their we us "
        "our you your i me my who which what when of in on at by for from to with into about up out over after is "
        "are was were be been being am has have had do does did will would can could may should must not no so also "
        "all some any more other one s 's n't"
    ).split()
)
"""Closed-class words of English.

METEOR weighs a content word by delta and a function word by 1 - delta. Its own list, a file of the program, holds the
words that make up more than 0.1 % of a corpus of English; ours is the grammar's, so the two are not the same.
"""

_SYMBOL = re.compile(r"[^\w\s.'`,-]|_|(?<![^\W_])'|'(?![^\W\d_])")
_CLITIC = re.compile(r"(?<=[^\W_])'(?=[^\W\d_])")
_HYPHEN = re.compile(r"(?<=[^\W_])-(?=[^\W_])")


def meteor_statistics(corpus: Corpus, *, function_words: Collection[str] = FUNCTION_WORDS) -> np.ndarray:
    """Sufficient statistics of every caption with the reference that gives it the highest score.

    Of references with the same score the shorter one counts (the program takes the first it reads).

    Args:
        corpus: captions and references.
        function_words: words that count 1 - delta. No word id is one.

    Returns:
        (n, 6): weight of the matched and of all words of the caption, the same of the reference, chunks (0 of a
        perfect match), matches. `meteor` gives the score of any sum of rows.
    """
    sentences = [Words(words=_words(tokens)) for tokens in corpus.sentences]
    weights = [[1 - _DELTA if w in function_words else _DELTA for w in s.words] for s in sentences]
    known: dict[tuple[int, int], list[float]] = {}
    rows = []
    caption, reference = corpus.pairs.T
    for pair in zip(corpus.hypotheses[caption].tolist(), corpus.references[reference].tolist(), strict=True):
        if pair not in known:
            first, second = pair
            known[pair] = _statistics(sentences[first], sentences[second], weights[first], weights[second])
        rows.append(known[pair])
    return best_of(np.array(rows), caption)


def best_of(rows: np.ndarray, caption: np.ndarray) -> np.ndarray:
    """(Q, 6) statistics of pairs -> (n, 6) of the best pair of each caption (Q,)."""
    order = np.lexsort((*rows.T, rows[:, 3], -meteor(rows), caption))
    return rows[order][np.unique(caption[order], return_index=True)[1]]


def meteor(statistics: np.ndarray) -> np.ndarray:
    """METEOR (...,) on the scale 0 to 1 from sums (..., 6) of `meteor_statistics`."""
    mine, my_weight, theirs, their_weight, chunks, matches = np.moveaxis(
        np.asarray(statistics, dtype=np.float64), -1, 0
    )
    some = matches > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = 1 / ((1 - _ALPHA) * my_weight / mine + _ALPHA * their_weight / theirs)
        penalty = _GAMMA * (chunks / matches) ** _BETA
    return np.where(some, mean * (1 - penalty), 0.0)


def weighted(content: np.ndarray, function: np.ndarray) -> np.ndarray:
    """Content words count delta, function words 1 - delta."""
    return _DELTA * content + (1 - _DELTA) * function


def _words(tokens: Sequence[str]) -> tuple[str, ...]:
    """Tokens as METEOR's own tokenizer leaves them: "t-junction" is two, clitics and symbols stand alone."""
    text = _SYMBOL.sub(r" \g<0> ", " ".join(tokens))
    return tuple(_HYPHEN.sub(" ", _CLITIC.sub(" '", text)).split())


def _statistics(caption: Words, reference: Words, mine: list[float], theirs: list[float]) -> list[float]:
    found = align(caption, reference)
    n = len(found.matches)
    perfect = found.chunks == 1 and n == len(caption.words) == len(reference.words)
    return [
        sum(_WEIGHTS[module] * mine[i] for i, _, module in found.matches),
        sum(mine),
        sum(_WEIGHTS[module] * theirs[j] for _, j, module in found.matches),
        sum(theirs),
        0 if perfect else found.chunks,
        n,
    ]
