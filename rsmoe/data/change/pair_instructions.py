"""Change instructions on real pairs: those of any reader that gives masks or class maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from rsmoe.checks.ranges import NonNegative, Positive
from rsmoe.data.change.answers import CHANGE_CLASSES
from rsmoe.data.change.facts import PairFacts, facts_of_masks, facts_of_sample
from rsmoe.data.change.instructions import KINDS
from rsmoe.data.change.pairs import ChangePairs
from rsmoe.data.rasters.class_map_sources import ClassMask
from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError


class PairInstructions(ChangePairs):
    """ChangeChat's tasks made from the masks of another release, as its rule-based half was made from LEVIR-MCI's.

    The reader gives one sample a pair: a "change_caption", whose captions are kept, or a "mask". The map of a pair is
    read at the first access to one of its rows. Numbers on these rows are numbers on rules of ours, not on
    ChangeChat-105k.

    Args:
        reader: builds the data set of pairs, given ``root`` and ``split``.
        root: of the release; None means ``$RSMOE_DATA/<name>``.
        split: of the reader.
        name: of the release, so that ``data.root`` finds it.
        nouns: what is counted and placed, classes of the reader's maps. Where these are transitions ("ground to
            building", as SECOND-CC has them) a noun stands for every transition from it or to it.
        kinds: of `KINDS` and "mask".
        open_turns: open questions a pair.
        min_pixels: smaller components of a mask are specks, and no change.
        seed: of every choice of words.

    Attributes:
        counts: "pairs" and "rows".
        official: that of the reader.
        unused: that of the reader.

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
        sample = self._reader[pair]
        if not any(" to " in name for name in sample.classes):
            return facts_of_sample(sample, nouns=self._nouns, min_pixels=self._min_pixels)
        assert sample.class_map is not None, "classes without a map"
        of = {noun: [v for v, name in enumerate(sample.classes) if noun in name.split(" to ")] for noun in self._nouns}
        if absent := [noun for noun, values in of.items() if not values]:
            known = sorted({part for name in sample.classes[1:] for part in name.split(" to ")})
            raise UserError(f"{self.name}: no class {', '.join(absent)}; known: {', '.join(known)}. Give other nouns")
        values = read_array(sample.class_map)
        every = tuple(range(1, len(sample.classes)))
        lazy: dict[str, Any] = {}
        if not isinstance(sample.class_map, np.ndarray) and self._min_pixels <= 1:
            lazy["mask"] = ClassMask(sample.class_map, every)  # what stays on disk costs no memory
        return facts_of_masks(
            {noun: np.isin(values, own) for noun, own in of.items()},
            id=sample.id,
            images=sample.images,
            source=sample.source,
            anything=np.isin(values, every),
            min_pixels=self._min_pixels,
            captions=sample.responses if sample.task == "change_caption" else (),
            class_map=sample.class_map,
            classes=sample.classes,
            meta=sample.meta,
            **lazy,
        )
