"""Half floats of many vectors in one file, compared with a query a piece at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

_CHUNK = 2**12
"""Vectors that are multiplied at once: as floats of width 256 they are 4 MB, which stay in a processor's cache. In
chunks of 32,768 the product takes nine times as long."""
_KIND = np.dtype("<f2")


class VectorFile:
    """Rows of little-endian half floats; a million of width 256 are 512 MB, which are mapped and not loaded.

    Args:
        path: made by the first `write`.
        dim: width of a row.
    """

    def __init__(self, path: Path, *, dim: int) -> None:
        self.path, self.dim = path, dim

    def write(self, rows: Sequence[int], vectors: np.ndarray) -> None:
        """Puts (n, dim) vectors into n rows, wherever these are; on disk when this returns."""
        halves = np.ascontiguousarray(vectors, _KIND).reshape(len(rows), self.dim)
        with self.path.open("r+b") if self.path.exists() else self.path.open("w+b") as file:
            for row, vector in zip(rows, halves, strict=True):
                file.seek(_KIND.itemsize * self.dim * row)
                file.write(vector.tobytes())
            file.flush()
            os.fsync(file.fileno())

    def scores(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        """(n,) float32 products of a (dim,) query with n rows.

        Args:
            rows: ascending, 1 at least; runs of neighbours are read without a copy.
        """
        # "c": torch wants arrays that may be written, and nothing writes this one
        vectors = np.memmap(self.path, _KIND, "c", shape=(int(rows[-1]) + 1, self.dim))
        asked, found = torch.from_numpy(np.asarray(query, np.float32)), np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            dense = some[-1] - some[0] + 1 == len(some)
            block = torch.from_numpy(vectors[some[0] : some[-1] + 1] if dense else vectors[some])
            found[start : start + len(some)] = block.float() @ asked
        return found
