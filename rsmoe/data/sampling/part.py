"""A part of a data set, for short runs."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread


class Part(Dataset[Sample]):
    """At most ``most`` samples of a data set, evenly spread, under its name, split and protocol.

    Args:
        data: the data set.
        most: number of samples.
    """

    def __init__(self, data: Dataset[Sample], *, most: int) -> None:
        self._data, self._places = data, spread(len(data), most)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self._places):
            raise IndexError(f"index {index} of {len(self._places)} samples")
        return self._data[self._places[index]]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # before the constructor has run, as in a loader's worker
            raise AttributeError(name)
        return getattr(self._data, name)
