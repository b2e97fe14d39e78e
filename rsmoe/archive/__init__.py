"""Archive contract: the tiles of many pictures as unit vectors in a store, found again by words, by pictures, by both.

- `Embedder`: pictures and texts in one space: `mixture_embedder.MixtureEmbedder`, the retrieval expert of a model, and
  `dual_embedder.DualEmbedder`, two towers; `open_embedder.open_embedder` opens either;
- `Store`: where vectors and tiles lie; `tile_store.TileStore` is a folder of this machine that is searched exactly,
  `qdrant_store.QdrantStore` a collection of a server; `open_store` opens either;
- `listing.listed`: the pictures of folders, tar files and STAC items; `picture.Picture` is one of them;
- `index_pictures.index_pictures`: brings a store up to date with them;
- `source_tiles.SourceTiles`: one picture as tiles that know where and of when they are.

A vector has length 1, so that the dot product of two is their cosine, and the sum of two asks for both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rsmoe.archive.tile import Hit, Source, Tile
from rsmoe.archive.where import Where

__all__ = ["Embedder", "Hit", "Source", "Store", "Tile", "Where"]


class Embedder(Protocol):
    """A model whose pictures and texts lie in one space."""

    fingerprint: str
    """Changes with the weights: vectors of two fingerprints are never compared."""
    bands: int
    """C of the pictures that it reads."""
    dim: int
    """Width of its vectors."""

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """n pictures (H, W, C) uint8, of any sizes -> (n, dim) float32."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """n texts -> (n, dim) float32."""

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that mean nothing to the model."""


class Store(Protocol):
    """Vectors with their tiles."""

    facts: Mapping[str, Any]
    """What the vectors depend on beside the pictures: the model's fingerprint, the side of the tiles ..."""

    def __len__(self) -> int:
        """Number of tiles."""

    def stamps(self) -> Mapping[str, str]:
        """Path -> `Source.stamp` of every source of which all tiles are there."""

    def paths(self) -> Sequence[str]:
        """Of every source, whole or not."""

    def held(self, source: Source) -> Collection[tuple[int, int]]:
        """Left and top of the tiles of a source that are there already, of this stamp; those of another are dropped."""

    def add(self, tiles: Sequence[Tile], vectors: np.ndarray, *, whole: Iterable[Source] = ()) -> None:
        """Keeps n tiles with their (n, dim) vectors; of ``whole`` sources these were the last ones."""

    def drop(self, paths: Iterable[str]) -> None:
        """Forgets sources and their tiles."""

    def search(self, query: np.ndarray, *, limit: int, where: Where | None = None) -> list[Hit]:
        """The tiles nearest to a (dim,) vector, best first."""
