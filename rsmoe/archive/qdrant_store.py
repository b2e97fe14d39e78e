"""A store in a collection of a Qdrant server or cluster, with the calls of the folder of `tile_store`.

A tile is a point with a vector; a source, and the facts of the store, are points without one. See `qdrant_points`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmoe.archive.facts import require_facts
from rsmoe.archive.qdrant_points import INDEXED, having, point_id, source_payload, tile_of, tile_payload, within
from rsmoe.archive.tile import Hit, Source, Tile
from rsmoe.archive.where import Where
from rsmoe.errors import UserError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import Filter

_VECTOR, _PAGE = "tile", 1000


class QdrantStore:
    """An `rsmoe.archive.Store` of a server, made by `create` or found by `open`.

    Searches go through the server's HNSW graph, which may miss a near tile; how often is a setting of the server.

    Args:
        client: of the server.
        collection: holds one store and nothing else.
    """

    def __init__(self, client: QdrantClient, collection: str) -> None:
        self.client, self.collection = client, collection
        with _reached(self.collection):
            found = client.retrieve(collection, [point_id("facts")]) if client.collection_exists(collection) else []
        if not found:
            raise UserError(
                f"no store in {self}: make one, rsmoe index images=<folder> out=<an address>, with a name of its own"
            )
        self.facts: Mapping[str, Any] = json.loads((found[0].payload or {})["facts"])

    def __str__(self) -> str:
        return f"Qdrant's collection {self.collection!r}"

    @classmethod
    def open(cls, address: str) -> QdrantStore:
        """The store of ``http://host:6333/collection``; the server's key, where it has one, is in $QDRANT_API_KEY.

        Raises:
            UserError: no such address, no answer, or no store there.
        """
        return cls(*_connect(address))

    @classmethod
    def create(cls, address: str, facts: Mapping[str, Any]) -> QdrantStore:
        """The store of an address, see `open`; a new one where there is none.

        Args:
            facts: see `rsmoe.archive.tile_store.TileStore.create`.

        Raises:
            UserError: no answer, the store has other facts, or the collection holds something else.
        """
        from qdrant_client.models import Distance, PayloadSchemaType, PointStruct, VectorParams

        client, collection = _connect(address)
        with _reached(collection):
            if not client.collection_exists(collection):
                size = VectorParams(size=facts["dim"], distance=Distance.DOT)
                client.create_collection(collection, vectors_config={_VECTOR: size})
            if not client.count(collection).count:  # new, or left so by a job that was stopped here
                for field, kind in INDEXED.items():
                    client.create_payload_index(collection, field, PayloadSchemaType(kind))
                said = {"kind": "facts", "facts": json.dumps(facts)}
                client.upsert(collection, [PointStruct(id=point_id("facts"), vector={}, payload=said)])
        store = cls(client, collection)
        store.require(facts)
        return store

    def require(self, facts: Mapping[str, Any]) -> None:
        """See `rsmoe.archive.facts.require_facts`."""
        require_facts(self.facts, facts, store=self)

    def __len__(self) -> int:
        with _reached(self.collection):
            return self.client.count(self.collection, count_filter=having(kind="tile")).count

    def stamps(self) -> dict[str, str]:
        """Path -> stamp of every source that is whole."""
        return {held["path"]: held["stamp"] for held in self._payloads(having(kind="source", whole=True))}

    def paths(self) -> list[str]:
        """Of every source, whole or not."""
        return sorted(held["path"] for held in self._payloads(having(kind="source")))

    def held(self, source: Source) -> Collection[tuple[int, int]]:
        """Left and top of the tiles that an interrupted job has left of this source; those of another stamp go."""
        tiles = list(self._payloads(having(kind="tile", path=source.path)))
        if any(held["stamp"] != source.stamp for held in tiles):
            self.drop([source.path])
            return set()
        return {(held["window"][0], held["window"][1]) for held in tiles}

    def add(self, tiles: Sequence[Tile], vectors: np.ndarray, *, whole: Iterable[Source] = ()) -> None:
        """Keeps n tiles with their (n, dim) vectors; see `rsmoe.archive.Store`.

        Raises:
            UserError: the server cannot be reached, or refuses them.
        """
        from qdrant_client.models import PointStruct

        ended = {source.path: source for source in whole}
        begun = {tile.source.path: tile.source for tile in tiles if tile.source.path not in ended}
        points = [
            PointStruct(id=point_id(tile.id), vector={_VECTOR: vector.tolist()}, payload=tile_payload(tile))
            for tile, vector in zip(tiles, vectors.astype(np.float32), strict=True)
        ]
        sources = [  # behind the tiles: a source is whole once all of them are there
            PointStruct(id=point_id("source", source.path), vector={}, payload=source_payload(source) | {"whole": done})
            for some, done in ((begun, False), (ended, True))
            for source in some.values()
        ]
        with _reached(self.collection):
            for some in (points, sources):
                if some:
                    self.client.upsert(self.collection, some, wait=True)

    def drop(self, paths: Iterable[str]) -> None:
        """Forgets sources and their tiles."""
        from qdrant_client.models import FieldCondition, Filter, FilterSelector, MatchAny

        if gone := list(paths):
            some = Filter(must=[FieldCondition(key="path", match=MatchAny(any=gone))])
            with _reached(self.collection):
                self.client.delete(self.collection, FilterSelector(filter=some), wait=True)

    def search(self, query: np.ndarray, *, limit: int, where: Where | None = None) -> list[Hit]:
        """The tiles nearest to a (dim,) vector, best first.

        Raises:
            UserError: a query of another width; the server cannot be reached.
        """
        if query.shape != (dim := self.facts["dim"],):
            raise UserError(f"the query has {query.shape} numbers, the vectors of {self} have {dim}")
        with _reached(self.collection):
            found = self.client.query_points(
                self.collection,
                query=query.astype(np.float32).tolist(),
                using=_VECTOR,
                query_filter=within(where),
                limit=limit,
                with_payload=True,
            ).points
        return [Hit(tile=tile_of(point.payload or {}), score=point.score) for point in found]

    def _payloads(self, some: Filter) -> Iterator[dict[str, Any]]:
        page: Any = None
        while True:
            with _reached(self.collection):
                points, page = self.client.scroll(self.collection, scroll_filter=some, limit=_PAGE, offset=page)
            yield from (point.payload or {} for point in points)
            if page is None:
                return


def _connect(address: str) -> tuple[QdrantClient, str]:
    """Client and name of the collection of ``http://host:6333/collection``."""
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise UserError("a store at an address needs Qdrant's client: pip install 'rsmoe[qdrant]'") from error
    server, _, collection = address.rstrip("/").rpartition("/")
    if "://" not in server or server.endswith("/"):
        raise UserError(
            f"{address}: expected the address of a Qdrant collection, such as http://localhost:6333/archive"
        )
    with _reached(collection):
        key = os.environ.get("QDRANT_API_KEY")
        return QdrantClient(url=server, api_key=key, timeout=60, check_compatibility=False), collection


@contextmanager
def _reached(collection: str) -> Iterator[None]:
    """What the client raises, as one line."""
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except (ApiException, ValueError, OSError) as error:
        if isinstance(error, UserError):
            raise
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"Qdrant, collection {collection!r}: {first}. Is the server there, and is it its key?"
        ) from error
