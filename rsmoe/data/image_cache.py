"""Decoded and resized pictures, kept in memory up to a bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from rsmoe.data.images import load_image
from rsmoe.data.sample import Lazy
from rsmoe.data.transforms import resize


class ImageCache:
    """Decodes a file once; a small data set then costs no more decoding, on one core the slowest part of a step.

    Filled until ``max_bytes`` and left so: in shuffled order every picture is as likely to be next as any other, and
    evicting one for another gains nothing. Each loader worker has its own; pickling leaves the pictures behind.

    Args:
        size: side in pixels that pictures are resized to.
        max_bytes: bound on what is kept; 0 keeps nothing.
    """

    def __init__(self, *, size: int, max_bytes: int) -> None:
        self.size, self.max_bytes = size, max_bytes
        self._kept: dict[Path | str, Tensor] = {}
        self._bytes = 0

    def __call__(self, source: Path | np.ndarray | Lazy) -> Tensor:
        """(C, size, size) uint8 of a file, or of an array, which is never kept; not to be changed in place.

        Raises:
            UserError: when the picture cannot be read, see `load_image`.
        """
        if isinstance(source, np.ndarray):
            return resize(load_image(source), self.size)
        key = source if isinstance(source, Path) else source.key
        kept = self._kept.get(key)
        if kept is None:
            kept = resize(load_image(source), self.size)
            if self._bytes + kept.nbytes <= self.max_bytes:
                self._kept[key] = kept
                self._bytes += kept.nbytes
        return kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_bytes": 0}
