"""Change instructions on real pairs: those of any reader that gives masks or class maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch.utils.data import Dataset

from rsmoe.checks.ranges import NonNegative, Positive
from rsmoe.data.change.answers import CHANGE_CLASSES
from rsmoe.data.change.facts import PairFacts, facts_of_sample
from rsmoe.data.change.instructions import KINDS
from rsmoe.data.change.pairs import ChangePairs
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError


class PairInstructions(ChangePairs):
    """ChangeChat's tasks made from the masks of another release, as its rule-based half was made from LEVIR-MCI's.

    The reader gives one sample a pair: a "change_caption", whose captions are kept, or a "mask". The map of a pair is
    read at the first access to one of its rows. Numbers on these rows are numbers on rules of ours, not on
    ChangeChat-105k.

    Args:
        reader: builds the data set of pairs, given ``root`` and ``split``.
        name: of the release, so that ``data.root`` finds it.
        nouns: what is counted and placed, see `facts_of_sample`.

    Attributes:
        counts: "pairs" and "rows"; ``official`` and ``unused`` are those of the reader.

    Raises:
        UserError: whatever the reader raises; an empty split; a pair without masks, or without a class of ``nouns``.
    """

    def __init__(
        self,
        *,
        reader: Callable[..., Dataset[Sample]],
        root: str | None = None,
        split: str,
        name: str,
        nouns: Sequence[str] = CHANGE_CLASSES,
        kinds: Sequence[str] = KINDS,
        open_turns: NonNegative = 4,
        min_pixels: Positive = 1,
        seed: NonNegative = 0,
    ) -> None:
        self._reader = reader(root=root, split=split)
        self._nouns, self._min_pixels = tuple(nouns), min_pixels
        pairs = len(self._reader)  # type: ignore[arg-type]
        if not pairs or not kinds:
            raise UserError(f"{name}: {pairs} pairs in split {split!r}, kinds={list(kinds)}; expected one at least")
        super().__init__(name=name, split=split, pairs=pairs, kinds=kinds, open_turns=open_turns, seed=seed)
        self.counts = {"pairs": pairs, "rows": len(self)}
        self.official: Mapping[str, Mapping[str, int]] = getattr(self._reader, "official", {})
        self.unused: dict[str, list[str]] = getattr(self._reader, "unused", {})

    def facts(self, pair: int) -> PairFacts:
        """Of pair ``pair`` of the reader."""
        return facts_of_sample(self._reader[pair], nouns=self._nouns, min_pixels=self._min_pixels)
