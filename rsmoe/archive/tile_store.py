"""A store in one folder of this machine, searched exactly.

``tiles.sqlite`` holds what is known of the tiles, ``vectors.f16`` one row of little-endian half floats a tile. A vector
is on disk before its tile is committed, so that a kill at any moment leaves a store of whole tiles.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.archive.facts import require_facts
from rsmoe.archive.tile import Hit, Source, Tile
from rsmoe.archive.vector_file import VectorFile
from rsmoe.archive.where import Where
from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference

_NAME, _VECTORS = "tiles.sqlite", "vectors.f16"
_TABLES = """
CREATE TABLE facts (facts TEXT NOT NULL);
CREATE TABLE sources (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, day TEXT, grid TEXT,
  whole INTEGER NOT NULL DEFAULT 0);
CREATE TABLE tiles (row INTEGER PRIMARY KEY, source INTEGER NOT NULL, left INTEGER NOT NULL, top INTEGER NOT NULL,
  width INTEGER NOT NULL, height INTEGER NOT NULL, west REAL, south REAL, east REAL, north REAL, gsd_m REAL,
  UNIQUE (source, left, top));
CREATE TABLE free (row INTEGER PRIMARY KEY);
"""


class TileStore:
    """An `rsmoe.archive.Store`, made by `create` or found by `open`.

    Several processes may read it while one writes; two that write take turns.

    Args:
        folder: of its two files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._db = sqlite3.connect(folder / _NAME, timeout=60, isolation_level=None)
        with self._told():
            ((facts,),) = self._db.execute("SELECT facts FROM facts")
        self.facts: Mapping[str, Any] = json.loads(facts)
        self._vectors = VectorFile(folder / _VECTORS, dim=self.facts["dim"])

    @classmethod
    def open(cls, folder: Path) -> TileStore:
        """The store of a folder.

        Raises:
            UserError: there is none.
        """
        if not (folder / _NAME).is_file():
            raise UserError(f"no store in {folder}: make one, rsmoe index images=<folder> out={folder}")
        return cls(folder)

    @classmethod
    def create(cls, folder: Path, facts: Mapping[str, Any]) -> TileStore:
        """The store of a folder; a new one where there is none.

        Args:
            facts: plain json: ``checkpoint``, the ``model``'s fingerprint, ``dim`` of its vectors, and others.

        Raises:
            UserError: the folder cannot be written, or its store has other facts.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(folder / _NAME, timeout=60, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"cannot write {folder}: {error}") from error
        with _transaction(db, folder):
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchall():
                for table in _TABLES.split(";\n")[:-1]:
                    db.execute(table)
                db.execute("INSERT INTO facts VALUES (?)", (json.dumps(facts),))
        db.close()
        store = cls(folder)
        store.require(facts)
        return store

    def require(self, facts: Mapping[str, Any]) -> None:
        """See `rsmoe.archive.facts.require_facts`."""
        require_facts(self.facts, facts, store=self.folder)

    def __len__(self) -> int:
        with self._told():
            return int(self._db.execute("SELECT count(*) FROM tiles").fetchone()[0])

    def stamps(self) -> dict[str, str]:
        """Path -> stamp of every source that is whole."""
        with self._told():
            return dict(self._db.execute("SELECT path, stamp FROM sources WHERE whole"))

    def paths(self) -> list[str]:
        """Of every source, whole or not."""
        with self._told():
            return [path for (path,) in self._db.execute("SELECT path FROM sources ORDER BY path")]

    def held(self, source: Source) -> set[tuple[int, int]]:
        """Left and top of the tiles that an interrupted job has left of this source; those of another stamp go."""
        with self._told():
            found = self._db.execute("SELECT id, stamp FROM sources WHERE path = ?", (source.path,)).fetchone()
            if found is None:
                return set()
            if found[1] != source.stamp:
                self.drop([source.path])
                return set()
            return set(self._db.execute("SELECT left, top FROM tiles WHERE source = ?", (found[0],)))

    def add(self, tiles: Sequence[Tile], vectors: np.ndarray, *, whole: Iterable[Source] = ()) -> None:
        """Keeps n tiles with their (n, dim) vectors; see `rsmoe.archive.Store`.

        Raises:
            UserError: the folder cannot be written, the disk is full.
        """
        with _transaction(self._db, self.folder):
            rows = self._rows_for(len(tiles))
            self._vectors.write(rows, vectors)
            ids: dict[str, int] = {}
            for source in [*(tile.source for tile in tiles), *(ended := list(whole))]:
                if source.path not in ids:
                    ids[source.path] = self._id(source)
            self._db.executemany(
                "INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (row, ids[tile.source.path], *tile.window, *(tile.box or (None,) * 4), tile.gsd_m)
                    for row, tile in zip(rows, tiles, strict=True)
                ],
            )
            self._db.executemany("UPDATE sources SET whole = 1 WHERE path = ?", [(s.path,) for s in ended])

    def drop(self, paths: Iterable[str]) -> None:
        """Forgets sources; the places of their vectors are written anew by those to come."""
        with _transaction(self._db, self.folder):
            for path in paths:
                for (source,) in self._db.execute("SELECT id FROM sources WHERE path = ?", (path,)).fetchall():
                    self._db.execute("INSERT OR IGNORE INTO free SELECT row FROM tiles WHERE source = ?", (source,))
                    self._db.execute("DELETE FROM tiles WHERE source = ?", (source,))
                    self._db.execute("DELETE FROM sources WHERE id = ?", (source,))

    def search(self, query: np.ndarray, *, limit: int, where: Where | None = None) -> list[Hit]:
        """The tiles with the greatest cosine, best first, of all that are there.

        Raises:
            UserError: a query of another width.
        """
        with self._told():
            rows = self._rows(where)
            if not len(rows):
                return []
            if query.shape != (dim := self.facts["dim"],):
                raise UserError(f"the query has {query.shape} numbers, the vectors of {self.folder} have {dim}")
            scores = self._vectors.scores(rows, query)
            best = _top(scores, limit)
            return [Hit(tile=self._tile(int(rows[place])), score=float(scores[place])) for place in best]

    def _rows(self, where: Where | None) -> np.ndarray:
        """Rows of the tiles that a search may find, ascending."""
        if where is None or where == Where():
            number, end = self._db.execute(  # each by itself is a look into an index
                "SELECT (SELECT count(*) FROM tiles), (SELECT coalesce(max(row) + 1, 0) FROM tiles)"
            ).fetchone()
            if number == end:  # no holes: to list a million rows takes longer than to multiply them
                return np.arange(end)
        conditions, values = ["1"], dict[str, Any]()
        if where is not None and where.bbox is not None:
            conditions.append(
                "south <= :north0 AND north >= :south0 AND (west <= :east0 AND east >= :west0 "
                "OR west <= :east0 + 360 AND east >= :west0 + 360)"  # east of 180 across the antimeridian
            )
            values |= dict(zip(("west0", "south0", "east0", "north0"), where.bbox, strict=True))
        if where is not None and where.dates is not None:
            conditions.append("source IN (SELECT id FROM sources WHERE day >= :first AND day <= :last || '~')")
            values |= {"first": where.dates[0], "last": where.dates[1]}  # "2020-08-30" <= "2020-08~"
        found = self._db.execute(f"SELECT row FROM tiles WHERE {' AND '.join(conditions)} ORDER BY row", values)
        return np.fromiter((row for (row,) in found), np.int64)

    def _tile(self, row: int) -> Tile:
        left, top, width, height, west, south, east, north, gsd_m, path, stamp, day, grid = self._db.execute(
            "SELECT left, top, width, height, west, south, east, north, gsd_m, path, stamp, day, grid "
            "FROM tiles JOIN sources ON sources.id = source WHERE row = ?",
            (row,),
        ).fetchone()
        place = None
        if grid is not None:
            crs, transform, wide, high = json.loads(grid)
            place = Georeference(crs, tuple(transform), wide, high)
        return Tile(
            source=Source(path=path, stamp=stamp, georeference=place, day=day),
            window=(left, top, width, height),
            box=None if west is None else (west, south, east, north),
            gsd_m=gsd_m,
        )

    def _rows_for(self, number: int) -> list[int]:
        """Places for so many vectors: those of dropped tiles first."""
        ((end,),) = self._db.execute(
            "SELECT max(coalesce((SELECT max(row) FROM tiles), -1), coalesce((SELECT max(row) FROM free), -1)) + 1"
        )
        rows = [row for (row,) in self._db.execute("SELECT row FROM free ORDER BY row LIMIT ?", (number,))]
        self._db.executemany("DELETE FROM free WHERE row = ?", [(row,) for row in rows])
        return rows + list(range(end, end + number - len(rows)))

    def _id(self, source: Source) -> int:
        grid = source.georeference
        held = None if grid is None else json.dumps([grid.crs, grid.transform, grid.width, grid.height])
        self._db.execute(
            "INSERT OR IGNORE INTO sources (path, stamp, day, grid) VALUES (?, ?, ?, ?)",
            (source.path, source.stamp, source.day, held),
        )
        return int(self._db.execute("SELECT id FROM sources WHERE path = ?", (source.path,)).fetchone()[0])

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{self.folder / _NAME} is no store of rsmoe index, or damaged ({error}): give another folder"
            ) from error


@contextmanager
def _transaction(db: sqlite3.Connection, folder: Path) -> Iterator[None]:
    """All of it, or nothing; others that write wait."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"cannot write {folder / _NAME}: {error}") from error
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _top(scores: np.ndarray, limit: int) -> np.ndarray:
    """Places of the greatest scores, the greatest first; of equal ones the first."""
    least = np.partition(scores, -limit)[-limit] if limit < len(scores) else scores.min()
    near = np.flatnonzero(scores >= least)
    return near[np.argsort(-scores[near], kind="stable")[:limit]]
