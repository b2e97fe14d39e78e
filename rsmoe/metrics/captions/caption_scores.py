"""BLEU-1..4, ROUGE-L, CIDEr-D and METEOR of captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rsmoe.errors import UserError
from rsmoe.metrics.captions.bleu import bleu, bleu_counts
from rsmoe.metrics.captions.cider import cider_d
from rsmoe.metrics.captions.meteor import STATISTICS, meteor, meteor_statistics
from rsmoe.metrics.captions.ngram_counts import ORDERS
from rsmoe.metrics.captions.rouge import rouge_l
from rsmoe.metrics.captions.tokenize import Tokenizer, tokenizer, word_ids
from rsmoe.metrics.captions.tokenized import Corpus
from rsmoe.metrics.metric import Metric, Pairs, Protocol, Vocabulary
from rsmoe.metrics.tally import Tally, ratio

_BLEU = slice(4, 4 + 2 * ORDERS + 2)
_METEOR = slice(_BLEU.stop, _BLEU.stop + STATISTICS)


_COCO = (
    "BLEU-1..4 (corpus, closest reference), ROUGE-L (beta 1.2) and CIDEr-D (idf of the scored split), all x100 as "
    "papers print them, on {}; an empty caption scores 0 and stays in the denominator."
)
_METEOR_TOO = (
    " Also METEOR 1.5 with its exact and stem modules (no synonyms, no paraphrases), and S*m. On 1,094 captions of "
    "RSICD 0.9 below the Java program on words, 0.09 on word ids."
)
COCO_PTB = _COCO.format("Penn Treebank tokens without punctuation")
METEOR_SOURCE = "Denkowski and Lavie, Meteor Universal, WMT 2014; https://github.com/salaniz/pycocoevalcap"

Tokens = Literal["whitespace", "ptb", "word_ids"]


class CaptionScores(Metric):
    """BLEU-1..4, ROUGE-L, CIDEr-D and, where asked for, METEOR of captions; see `caption_tally`.

    Args:
        tokenize: "whitespace", "ptb" or "word_ids", see `rsmoe.metrics.captions.tokenize`. METEOR comes with the last.
        meteor: add METEOR and S*m.
    """

    family = "caption"
    tasks: tuple[str, ...] = ("caption", "vqa", "change_vqa")
    more = ""
    """Sentence and source of a subclass."""
    paper = ""

    def __init__(self, *, tokenize: Tokens = "whitespace", meteor: bool = False) -> None:
        self.tokenize, self.meteor = tokenize, meteor or tokenize == "word_ids"
        self.needs_vocabulary = tokenize == "word_ids"
        self._vocabulary: Vocabulary = None
        name, title, tokens, source, scorer, tolerance = _TOKENS[tokenize]
        if tokenize == "ptb" and meteor:
            name, title = "meteor-ptb", f"{title}, METEOR"
            source, tolerance = METEOR_SOURCE, f"{tolerance}; METEOR is 0.9 lower on RSICD"
        sentence = _COCO.format(tokens) + (_METEOR_TOO if self.meteor else "") + self.more
        self.protocol = Protocol(
            id=f"{self.family}/{name.removeprefix('coco-') if self.more else name}@1",
            title=f"Change captions: {title}" if self.more else title,
            tasks=self.tasks,
            sentence=sentence,
            source=self.paper if self.paper and not self.meteor else source,
            scorer=scorer,
            tolerance=tolerance,
        )

    def with_vocabulary(self, vocabulary: Vocabulary) -> Metric:
        """The metric on the word ids of a release."""
        if not self.needs_vocabulary:
            return self
        found = type(self)(tokenize=self.tokenize, meteor=self.meteor)
        found._vocabulary = vocabulary
        return found

    def tally(self, pairs: Pairs) -> Tally:
        """One row a caption."""
        texts, references = [p.text for _, p in pairs], [s.responses for s, _ in pairs]
        return caption_tally(texts, references, tokenize=self.tokens(), meteor=self.meteor)

    def tokens(self) -> Tokenizer:
        """Text -> tokens; raises `UserError` where a vocabulary is needed and there is none."""
        if not self.needs_vocabulary:
            return tokenizer(self.tokenize)
        if self._vocabulary is None:
            raise UserError("a protocol on word ids needs the vocabulary of the release: give vocabulary=vocab.json")
        return word_ids(self._vocabulary)


_COCOEVAL = "https://github.com/salaniz/pycocoevalcap"
_TOKENS: dict[str, tuple[str, ...]] = {
    "whitespace": (
        "coco-whitespace",
        "BLEU, ROUGE-L, CIDEr-D on whitespace tokens",
        "whitespace tokens (lower-case, '.' and ',' become spaces)",
        f"{_COCOEVAL}, without its tokenizer",
        "pycocoevalcap 1.2 scorers on the same tokens",
        "1e-9",
    ),
    "ptb": (
        "coco-ptb",
        "BLEU, ROUGE-L, CIDEr-D on Penn Treebank tokens",
        "Penn Treebank tokens without punctuation",
        _COCOEVAL,
        "pycocoevalcap 1.2 with its PTBTokenizer",
        "1e-9",
    ),
    "word_ids": (
        "levir-ids",
        "BLEU, ROUGE-L, CIDEr-D, METEOR on word ids",
        "whitespace tokens as ids of the release's vocabulary, all unknown words being one id that matches itself: to "
        "compare with the tables of change captioning, not a default",
        "https://github.com/Chen-Yang-Liu/RSICC, eval_func",
        "pycocoevalcap 1.2 scorers on the same ids",
        "1e-9; METEOR 1e-3 of 1 (0.1 as printed)",
    ),
}
"""Tokens -> name of the protocol, title, what the tokens are, source, public scorer, tolerance."""


def caption_tally(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: Tokenizer, meteor: bool = False
) -> Tally:
    """What each of n captions adds to the corpus scores.

    Args:
        hypotheses: n captions.
        references: of each, one or more.
        tokenize: text -> tokens, of both.
        meteor: add METEOR, which takes longer than all others together, and with it ``s_m``, the mean of bleu4,
            meteor, rouge_l and cider_d by which change captioning ranks (CIDEr-D of 1.4 counts as 140 %).

    Returns:
        bleu1, bleu2, bleu3, bleu4, rouge_l, meteor (0 to 1), cider_d (0 to 10), s_m, n, parse_failures (captions
        without a token; they stay in every denominator and score 0). Equal to pycocoevalcap 1.2 within 1e-9, but
        METEOR, see `rsmoe.metrics.captions.meteor`.

    Raises:
        ValueError: no caption, or a caption without references.
    """
    corpus = Corpus.of(hypotheses, references, tokenize=tokenize)
    counts = bleu_counts(corpus)
    columns = [np.ones(len(counts)), counts[:, 8] == 0, rouge_l(corpus), cider_d(corpus), counts]
    if meteor:
        columns.append(meteor_statistics(corpus))
    return Tally(rows=np.column_stack(columns).astype(np.float64), finish=_finish)


def caption_scores(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: Tokenizer, meteor: bool = False
) -> dict[str, float]:
    """Corpus scores of n captions; arguments, numbers and errors of `caption_tally`."""
    return caption_tally(hypotheses, references, tokenize=tokenize, meteor=meteor).values()


def _finish(sums: np.ndarray) -> dict[str, np.ndarray]:
    n = sums[..., 0]
    scores = {f"bleu{i}": value for i, value in enumerate(np.moveaxis(bleu(sums[..., _BLEU]), -1, 0), start=1)}
    scores |= {"rouge_l": ratio(sums[..., 2], n), "cider_d": ratio(sums[..., 3], n)}
    if sums.shape[-1] > _METEOR.start:
        scores["meteor"] = meteor(sums[..., _METEOR])
        scores["s_m"] = (scores["bleu4"] + scores["meteor"] + scores["rouge_l"] + scores["cider_d"]) / 4
    return scores | {"n": n, "parse_failures": sums[..., 1]}
