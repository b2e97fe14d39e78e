"""The six tasks of change instructions on pairs of any source, as a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

from torch.utils.data import Dataset

from rsmoe.data.change.facts import PairFacts
from rsmoe.data.change.instructions import KINDS, instructions
from rsmoe.data.sample import Sample
from rsmoe.errors import require_known


class ChangePairs(Dataset[Sample], ABC):
    """`instructions` of one pair after another: the rows of a pair follow one another, in the order of ``kinds``.

    A subclass says how many pairs there are and gives `facts` of each. Facts and samples of a pair are made at the
    first access to one of its rows and kept, so that all its rows share the very same pictures, which `Collate` then
    decodes and encodes once. Every sample carries the class map of its pair where there is one: whatever is asked, the
    map of changes can learn beside it.

    Args:
        kinds, open_turns, seed: see `instructions`.
        pairs: number of pairs, all of whose rows there are; give it or ``size``.
        size: number of rows, where there are pairs without end.
    """

    protocol = ""

    def __init__(
        self,
        *,
        name: str,
        split: str,
        kinds: Sequence[str] = KINDS,
        open_turns: int = 4,
        seed: int = 0,
        pairs: int = 0,
        size: int | None = None,
    ) -> None:
        require_known(f"kind of {name}", *kinds, known=(*KINDS, "mask"))
        self.name, self.split = name, split
        self._kinds, self._open_turns, self._seed = tuple(kinds), open_turns, seed
        self._kept: dict[int, list[Sample]] = {}
        self._pairs, self._size = pairs, size

    @abstractmethod
    def facts(self, pair: int) -> PairFacts:
        """Facts of a pair; called once for each."""

    def rows(self, pair: int) -> list[Sample]:
        """All samples of one pair, the same objects at every call."""
        if pair not in self._kept:
            self._kept[pair] = instructions(
                self.facts(pair), kinds=self._kinds, open_turns=self._open_turns, seed=self._seed
            )
        return self._kept[pair]

    @cached_property
    def per_pair(self) -> int:
        """Rows of a pair, the same for every one: they depend on the classes alone."""
        return len(self.rows(0))

    def __len__(self) -> int:
        return self._pairs * self.per_pair if self._size is None else self._size

    def __getitem__(self, index: int) -> Sample:
        """Row ``index``; `IndexError` outside of the data set."""
        pair, row = divmod(range(len(self))[index], self.per_pair)
        return self.rows(pair)[row]
