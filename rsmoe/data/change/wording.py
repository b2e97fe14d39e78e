"""Templated sentences about a pair: class, number and place of changes, and nothing that a mask does not show.

A mask says that something differs, not whether it was built or removed, so no sentence does. The register is that of
LEVIR-CC (lower case, a full stop set apart); unchanged pairs get its five sentences.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from rsmoe.data.change.answers import write_counts
from rsmoe.data.change.cells import CELLS, MIN_SHARE, in_order
from rsmoe.data.change.facts import PairFacts
from rsmoe.data.change.phrases import NO_CHANGE, PLACES, counted, plural, sentence

_EVERYWHERE = 6
"""From so many cells on, a sentence says that the change is all over the scene."""


def change_sentences(facts: PairFacts, rng: random.Random) -> tuple[str, ...]:
    """Five different captions."""
    if not facts.changed:
        return tuple(f"{text} ." for text in NO_CHANGE)
    met = {noun: n for noun, n in facts.counts.items() if n}
    named = [cell for noun in met for cell in facts.cells[noun]]
    anywhere = [cell for cell, share in zip(CELLS, facts.shares, strict=True) if share >= MIN_SHARE]
    where = _places(in_order(named or anywhere), rng)
    if not met:
        written = (
            "the scene has changed",
            f"the scene has changed {where}",
            f"some changes have occurred {where}",
            f"changes can be seen {where}",
            f"a part of the scene is different from before {where}",
        )
    else:
        things = listed([counted(n, noun) for noun, n in met.items()])
        kinds = listed([noun if n == 1 else plural(noun) for noun, n in met.items()])
        one = sum(met.values()) == 1
        written = (
            f"{things} {'has' if one else 'have'} changed",
            f"{things} {'has' if one else 'have'} changed {where}",
            f"{things} {'is' if one else 'are'} different from before {where}",
            f"the {kinds} {where} {'does' if one else 'do'} not look the same as before",
            f"changes of {listed([plural(noun) for noun in met])} can be seen {where}",
        )
    return tuple(f"{text} ." for text in written)


def description(facts: PairFacts, caption: str) -> str:
    """The caption, then counts and places of every class that changed, each a sentence; the caption alone if none.

    A caption by rule says no more than counts and places do, and is left out before them.
    """
    said = [sentence(caption)] if facts.captions or not any(facts.counts.values()) else []
    if any(facts.counts.values()):
        said.append(write_counts(facts.counts))
    for noun, cells in facts.cells.items():
        if cells:
            one = facts.counts[noun] == 1
            subject = f"the changed {noun} is" if one else f"the changed {plural(noun)} are"
            said.append(sentence(f"{subject} {_places(cells)}"))
    return " ".join(said)


def open_questions(facts: PairFacts) -> list[tuple[str, str]]:
    """Every question that the facts answer, with its answer, which the wording of the question does not reveal."""
    nouns, nothing = list(facts.counts), "Nothing has changed."
    met = [noun for noun in nouns if facts.counts[noun]]
    found = []
    for noun in nouns:
        count = write_counts({noun: facts.counts[noun]})
        yes_no = "Yes" if facts.counts[noun] else "No"
        found.append((f"Have any {plural(noun)} changed?", f"{yes_no}, {count[0].lower()}{count[1:]}"))
        place = sentence(_places(facts.cells[noun])) if facts.cells[noun] else "Nowhere."
        found.append((f"In which part of the scene have {plural(noun)} changed?", place))
    if len(nouns) > 1:
        which = f"Which of these have changed: {listed([plural(noun) for noun in nouns], 'or')}?"
        found.append((which, sentence(listed([plural(noun) for noun in met])) if met else "None of them."))
    if len(nouns) == 2:
        a, b = (facts.counts[noun] for noun in nouns)
        more = f"More {plural(nouns[0] if a > b else nouns[1])}." if a != b else "As many of the one as of the other."
        found.append((f"Have more {plural(nouns[0])} or more {plural(nouns[1])} changed?", more))
    middle = facts.shares[CELLS.index("center-center")] > 0
    found.append(("Has anything changed in the center of the scene?", "Yes." if middle else "No."))
    most = PLACES[int(np.argmax(facts.shares))][0]
    found.append(("Where has the scene changed the most?", sentence(most) if facts.changed else nothing))
    percent = round(100 * facts.fraction)
    amount = f"About {percent} % of the scene." if percent else "Less than one percent of the scene."
    found.append(("How much of the scene has changed?", amount if facts.changed else nothing))
    return found


def _places(cells: Sequence[str], rng: random.Random | None = None) -> str:
    """ "in the top left corner and in the center", "all over the scene"; the first wording of each without ``rng``."""
    if len(cells) >= _EVERYWHERE:
        return "all over the scene"
    wordings = [PLACES[CELLS.index(cell)] for cell in cells]
    return listed([rng.choice(some) if rng is not None else some[0] for some in wordings])


def listed(words: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))
