"""Text -> tokens, as the caption scorers of the field see them.

- `whitespace`: lower-case, "." and "," become spaces, split on spaces. The default: any language can repeat it.
- `ptb`: what the ``PTBTokenizer`` of pycocoevalcap 1.2 (Stanford CoreNLP 3.4.1, ``-lowerCase``) leaves of a caption.
- `word_ids`: whitespace tokens as integer strings, as the change captioning releases feed their scorers.

**Scope of `ptb`.** The rules were written from the tokenizer's behaviour, not from its grammar. They reproduce it on
every one of the 36,799 distinct captions, questions and answers of UCM-Captions, RSICD (train, val), LEVIR-CC (train,
val), DUBAI-CC, RSIVQA and RSVQA-LR (samples), and on the hard cases of ``test_metrics_tokenize.py``. Known to
differ: emoticons, "AT&T", "c++", file names with digits, combining marks, telephone numbers, SGML entities beyond the
common ones, words glued to an abbreviation ("a.m.there"). A text full of those should go through the Java program.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from rsmoe.errors import require_known

Tokenizer = Callable[[str], list[str]]

_WHITESPACE = str.maketrans(".,", "  ")

_DROPPED = frozenset(('"', "'", "''", "`", "``", ".", "?", "!", ",", ":", "-", "--", "---", "----", ";"))
"""Punctuation that pycocoevalcap removes. Brackets stay, as "-lrb-": it looks for them in upper case."""

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("“”«»", '"'),
        **dict.fromkeys("‘’‹›", "'"),
        **dict.fromkeys("–—\x96\x97", " -- "),
        **{"…": " ... ", "½": " 1/2 ", "¼": " 1/4 ", "¾": " 3/4 ", "⅓": " 1/3 ", "⅔": " 2/3 "},
        **{"€": " $ ", "£": " # ", "¢": " cents ", "\u00ad": "", "\u200b": " ", "\ufeff": " "},
        **{c: f" {c} " for c in "²³¹"},  # str.isalnum() is true for them, yet they are tokens of their own
    }
)
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&nbsp;": " "}
_ENTITY = re.compile("|".join(_ENTITIES))

_MERGED = {
    **{"cannot": ("can", "not"), "gonna": ("gon", "na"), "gotta": ("got", "ta"), "wanna": ("wan", "na")},
    **{"lemme": ("lem", "me"), "gimme": ("gim", "me"), "'tis": ("'t", "is"), "'twas": ("'t", "was")},
}

_ABBREVIATIONS = (
    "mr mrs ms messrs dr drs prof st ave rd blvd dept bldg ft mt sq vs etc al cf est jr sr bros inc co corp "
    "ltd plc jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri gen col lt capt maj sgt "
    "adm gov rep sen rev hon pres univ assn intl natl mfg seq ph.d"
).replace(" ", "|")

_TOKEN = re.compile(
    rf"""
      (?:https?://|www\.)[^\s<>"()]*[^\s<>"().,;:!?']               # links, without the full stop behind them
    | [^\W_][\w.+-]*@[^\W_]+(?:\.[^\W_]+)*                            # mail
    | </?[a-z][^<>\n]*>                                              # markup
    | [@\#][^\W\d_]\w* | -[lr][rsc]b-
    | (?<![^\W_])(?:{_ABBREVIATIONS})\.(?![^\W_])
    | (?<![^\W_])(?:no|nos|fig|figs|ca)\.(?=\s?\d)                       # "no. 5", but "there is no."
    | (?<![^\W_])(?:[^\W\d_]\.)+(?:-[^\W_]+)*(?![^\W_])                # "u.s.", "e.g.", and so "court a."
    | '(?:tis|twas)(?![^\W_])
    | (?<![^\W_])[+-]?\d*(?:[.,:]\d+)+(?:-[^\W_]+)*             # 1,000 3.5 .5 10:30
    | \.\d+
    | (?<![^\W_])[+-]\d+(?![^\W_])
    | [^\W\d_]+?(?=n't(?![^\W_])) | n't(?![^\W_])                     # do n't, ca n't
    | '(?:s|m|d|re|ve|ll)(?![^\W_])                                  # clitics
    | (?<![^\W_])'\d\ds?(?![^\W_]) | '(?:em|n)(?![^\W_])'?                       # '90s, 'em
    | (?<![^\W_])[cdlo]'[^\W\d_]{{2,}} | (?<![^\W_])y'(?=[^\W_])        # o'clock, l'eau; y' all
    | [^\W\d_]+(?:[.!?][^\W\d_]+)+                                   # a missing space: "trees.the" is one token
    | [^\W_]+(?:[-_/‐‑][^\W_]+)*                                      # words, "four-way", "criss_crossing", "1/2"
    | [?!]+ | \.{{3,}} | -{{5,}} | -{{2,4}} | _+ | \*+ | [@\#]+ | <+ | >+
    | [^\w\s\U00010000-\U0010ffff]                                   # emoji are dropped
    """,
    re.VERBOSE,
)


def whitespace(text: str) -> list[str]:
    """Lower-case, "." and "," become spaces, split: "A sea,there." -> ["a", "sea", "there"]."""
    return text.lower().translate(_WHITESPACE).split()


def ptb(text: str) -> list[str]:
    """Penn Treebank tokens without punctuation: "There's a (semi-)circle." -> there 's a -lrb- semi -rrb- circle."""
    text = _ENTITY.sub(lambda m: _ENTITIES[m.group()], text.lower()).translate(_CHARACTERS)
    tokens: list[str] = []
    for token in _TOKEN.findall(text):
        if token in _MERGED:
            tokens += _MERGED[token]
        elif token not in _DROPPED and token.strip("."):
            tokens.append(_BRACKETS.get(token, token))
    return tokens


def word_vocabulary(captions: Iterable[str], *, min_count: int = 5) -> dict[str, int]:
    """Whitespace token -> id, from 2 up in alphabetical order, of tokens that training captions hold often enough.

    0 and 1 stand for padding and unknown words. Scorers compare ids for equality alone, so which number a word has
    changes no score; which words have one does (RSICC keeps those above five, Change-Agent those from five up).
    """
    counts = Counter(token for caption in captions for token in whitespace(caption))
    return {word: i for i, word in enumerate(sorted(w for w, n in counts.items() if n >= min_count), start=2)}


def word_ids(vocabulary: Mapping[str, int]) -> Tokenizer:
    """A tokenizer to whitespace tokens as integer strings; every word outside ``vocabulary`` becomes 1.

    Unknown words therefore match each other, as in the scorers of RSICC and Change-Agent; compare only with those.
    """
    return lambda text: [str(vocabulary.get(token, 1)) for token in whitespace(text)]


TOKENIZERS: dict[str, Tokenizer] = {"whitespace": whitespace, "ptb": ptb}


def tokenizer(name: str | Tokenizer) -> Tokenizer:
    """The tokenizer called ``name``, or the function itself; raises `rsmoe.errors.UserError` for an unknown name."""
    if not isinstance(name, str):
        return name
    require_known("tokenizer", name, known=TOKENIZERS)
    return TOKENIZERS[name]
