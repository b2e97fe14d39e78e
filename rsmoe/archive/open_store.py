"""The store of a folder, or of an address."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsmoe.archive.qdrant_store import QdrantStore
from rsmoe.archive.tile_store import TileStore
from rsmoe.data.files.byte_ranges import is_url


def open_store(place: str) -> TileStore | QdrantStore:
    """The store of a folder, or of a collection of a Qdrant server, ``http://host:6333/collection``.

    Raises:
        UserError: there is none.
    """
    return QdrantStore.open(place) if is_url(place) else TileStore.open(Path(place))


def create_store(place: str, facts: Mapping[str, Any]) -> TileStore | QdrantStore:
    """The same; a new one where there is none.

    Args:
        facts: see `rsmoe.archive.Store`.

    Raises:
        UserError: it cannot be written, or is a store of other facts.
    """
    return QdrantStore.create(place, facts) if is_url(place) else TileStore.create(Path(place), facts)
