"""Questions with lettered options: the letter that was answered, where one was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rsmoe.errors import UserError
from rsmoe.metrics.answers.normalise import normalise
from rsmoe.metrics.answers.vqa import Kinds, accuracy_row, accuracy_tally, question_types
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally

_LEAD = re.compile(
    r"^(?:(?:the )?(?:correct |right |best )?(?:answer|option|choice)\b(?: is)?\s*:?\s*)+", re.IGNORECASE
)
_LETTER = re.compile(r"\(?([A-Z])\)?[.):]?")
_SEVERAL = re.compile(r"\(?[A-Z]\)?\.?(?:(?:\s*,\s*(?:AND\s+)?|\s+AND\s+|\s+)\(?[A-Z]\)?\.?)+")
_NAMED = re.compile(r"\(?([A-Z])[.):]\)?\s*(\S.*)", re.DOTALL)


class MultipleChoice(Metric):
    """Accuracy of chosen options per type of question, and both averages; see `read_choice` for what counts as chosen.

    An answer that chooses nothing is wrong, stays in the denominator and is a parse failure. Questions with several
    right options ("A C" in ``Sample.meta["answer"]``) are right when exactly those were chosen.
    """

    protocol = Protocol(
        id="vqa/multiple-choice@1",
        title="Accuracy of chosen options",
        tasks=("vqa", "change_vqa"),
        sentence="Accuracy x100 per type, its mean over types and over questions. An option is chosen by its letter "
        "alone, behind 'Answer:' or in front of its own words, or by its words; a letter that begins a sentence is "
        "none. What chooses nothing is wrong.",
        source="ours, for GEOBench-VLM (arXiv 2411.19325), LHRS-Bench (arXiv 2402.02544), XLRS-Bench",
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row a question."""
        rows = []
        for sample, prediction in pairs:
            options = sample.meta.get("options")
            if not options:
                raise UserError(f"sample {sample.id!r} has no options: this protocol needs them as {{letter: text}}")
            answer = str(sample.meta.get("answer", sample.responses[0]))
            rows.append(choice_row(prediction.text, answer, options, question_types(sample)))
        return accuracy_tally(rows)


def read_choice(text: str, options: Mapping[str, str]) -> frozenset[str] | None:
    """The options that a text chooses, None where it chooses none.

    Read: a letter alone ("B", "b.", "(B)"), behind "Answer:" and the like, or in front of its own option ("B. road");
    several letters and nothing else ("A, C", "A and C"); an option word for word, when no other has the same words. A
    letter that only begins a sentence ("A road is visible."), stands within a word, is no option, or stands in front
    of another option's words is not an answer.

    Args:
        text: what was answered.
        options: letter -> text.
    """
    said = " ".join(_LEAD.sub("", " ".join(text.replace("*", "").split())).split())
    words = {letter: normalise(option) for letter, option in options.items()}
    same = [letter for letter, option in words.items() if option and option in (normalise(said), normalise(text))]
    upper = said.upper().rstrip(" .!")
    if single := _LETTER.fullmatch(upper):
        return _known({single[1]}, options)
    if len(same) == 1:
        return frozenset(same)
    if _SEVERAL.fullmatch(upper):
        return _known(set(re.findall(r"\b[A-Z]\b", upper)), options)
    named = _NAMED.fullmatch(said[:2].upper() + said[2:])
    return frozenset({named[1]}) if named and normalise(named[2]) == words.get(named[1]) else None


def choice_row(prediction: str, answer: str, options: Mapping[str, str], kind: Kinds) -> list[Any]:
    """One question, as `vqa.accuracy_tally` reads it; ValueError when the right answer is not among the options."""
    right = read_choice(answer, options)
    if right is None:
        raise ValueError(f"the answer {answer!r} is none of the options {dict(options)}")
    chosen = read_choice(prediction, options)
    return accuracy_row(kind, chosen == right, chosen is None)


def _known(letters: set[str], options: Mapping[str, str]) -> frozenset[str] | None:
    return frozenset(letters) if letters <= set(options) else None
