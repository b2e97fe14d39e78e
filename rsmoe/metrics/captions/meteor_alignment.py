"""Which word of a caption stands for which word of its reference: the aligner of METEOR 1.5."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

from rsmoe.metrics.captions.snowball import stem

_BEAM = 40
_RANK = itemgetter(0, 1, 2)

_Links = tuple[Any, int, int, int] | None
_State = tuple[int, int, int, int, int, _Links]

EXACT, STEM = 0, 1
"""Modules: the same word, or another word with the same stem."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """A sentence as METEOR reads it."""

    words: tuple[str, ...]

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """The stem of each word."""
        return tuple(map(stem, self.words))

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Each word with its stem."""
        return list(zip(self.words, self.stems, strict=True))

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Stem -> where it stands."""
        places: dict[str, list[int]] = defaultdict(list)
        for i, found in enumerate(self.stems):
            places[found].append(i)
        return dict(places)


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Matches (place in the caption, place in the reference, module), and the runs in which they stand."""

    matches: tuple[tuple[int, int, int], ...]
    chunks: int


def align(caption: Words, reference: Words) -> Alignment:
    """The best alignment in which every word has at most one partner.

    Best is: most exact matches, then fewest chunks (runs of matches that are neighbours in both sentences), then
    nearest places; matches without an alternative are always taken. A beam of 40 goes over the words of the reference.
    Denkowski and Lavie, "Meteor 1.3", WMT 2011, section 2, and METEOR 1.5 where it differs from the paper, because
    published numbers come from the program:

    - the paper counts matches of all modules; the program adds their weights in whole numbers, so that a stem match
      (0.6) counts as none, and is taken only where it opens no chunk;
    - the program charges the distance of a match to the alternatives tried after it, not to the match.
    """
    options = _options(caption, reference)
    chosen = Counter(i for places in options for i, _ in places)
    fixed = [len(places) == 1 and chosen[places[0][0]] == 1 for places in options]
    taken = sum(1 << places[0][0] for places, only in zip(options, fixed, strict=True) if only)
    # exact matches (negative), closed chunks, distance, where the open chunk goes on (-1: none), words used, matches
    beam: list[_State] = [(0, 0, 0, -1, taken, None)]
    for j, places in enumerate(options):
        beam = [after for state in _best(beam) for after in _after(state, j, places, fixed=fixed[j])]
    ended = [(cost, chunks + (end != -1), distance, links) for cost, chunks, distance, end, _, links in _best(beam)]
    _, chunks, _, links = min(ended, key=_RANK)
    return Alignment(matches=_unlinked(links), chunks=chunks)


def _options(caption: Words, reference: Words) -> list[list[tuple[int, int]]]:
    """For each word of the reference its possible partners: place in the caption, module; exact ones first."""
    if caption.words == reference.words:  # no stems between identical sentences
        return [[(i, EXACT) for i in caption.places[s] if caption.words[i] == w] for w, s in reference.pairs]
    options = []
    for word, found in reference.pairs:
        places = [(i, EXACT if caption.words[i] == word else STEM) for i in caption.places.get(found, ())]
        options.append(sorted(places, key=itemgetter(1)) if len(places) > 1 else places)
    return options


def _best(beam: list[_State]) -> list[_State]:
    return sorted(beam, key=_RANK)[:_BEAM] if len(beam) > 1 else beam


def _after(state: _State, j: int, places: list[tuple[int, int]], *, fixed: bool) -> Iterator[_State]:
    """The alignments that follow when word j of the reference gets one of its partners, or none."""
    cost, chunks, distance, end, used, links = state
    for i, module in places:
        if fixed:
            distance += abs(i - j)
        elif used >> i & 1:
            continue
        yield (
            cost - (module == EXACT),
            chunks + (end not in (-1, i)),
            distance,
            i + 1,
            used | 1 << i,
            (links, i, j, module),
        )
        if not fixed:
            distance += abs(i - j)
    if not fixed:
        yield cost, chunks + (end != -1), distance, -1, used, links


def _unlinked(links: _Links) -> tuple[tuple[int, int, int], ...]:
    matches = []
    while links is not None:
        links, i, j, module = links
        matches.append((i, j, module))
    return tuple(reversed(matches))
