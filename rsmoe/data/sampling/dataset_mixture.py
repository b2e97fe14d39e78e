"""Several data sets as one, whose samples come with the seed of this visit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from torch.utils.data import Dataset

from rsmoe.data.sample import Sample


class Mixture(Dataset[tuple[Sample, int]]):
    """Data sets one after another, one at least; ``mixture[index, seed]`` is (sample, seed), what `Collate` takes."""

    def __init__(self, datasets: Sequence[Dataset[Sample]]) -> None:
        self.datasets = tuple(datasets)
        self.sizes = tuple(len(d) for d in self.datasets)  # type: ignore[arg-type]
        self._ends = list(accumulate(self.sizes))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, key: tuple[int, int]) -> tuple[Sample, int]:
        index, seed = key
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} samples")
        place = bisect_right(self._ends, index)
        return self.datasets[place][index - self._ends[place] + self.sizes[place]], seed
