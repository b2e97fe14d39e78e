"""The first samples of a data set."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from rsmoe.data.sample import Sample


class First(Dataset[Sample]):
    """At most ``most`` samples of a data set, under its name, split and protocol.

    Args:
        data: the data set.
        most: number of samples.
    """

    def __init__(self, data: Dataset[Sample], *, most: int) -> None:
        self._data, self._size = data, min(most, len(data))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._size:
            raise IndexError(f"index {index} of {self._size} samples")
        return self._data[index]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # before the constructor has run, as in a loader's worker
            raise AttributeError(name)
        return getattr(self._data, name)
