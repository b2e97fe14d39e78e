"""The store of a Qdrant server beside the folder of this machine: the same calls, the same answers.

The client's in-memory mode stands for the server, which no package registry has.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, PointStruct, VectorParams

from rsmoe.archive import Store, qdrant_store
from rsmoe.archive.open_store import create_store, open_store
from rsmoe.archive.qdrant_store import QdrantStore
from rsmoe.archive.tile import Source, Tile
from rsmoe.archive.tile_store import TileStore
from rsmoe.archive.where import Where
from rsmoe.commands import index, search
from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference
from tests.support.colour_archive import ColourEmbedder, indexed, paint, refused, unit

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
FACTS = {"checkpoint": "c", "model": "m" * 16, "dim": 8, "tile": 256}
ADDRESS = "http://localhost:6333/archive"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> QdrantClient:
    client = QdrantClient(":memory:")
    monkeypatch.setattr(qdrant_store, "_connect", lambda address: (client, address.rpartition("/")[2]))
    return client


@pytest.fixture
def both(server: QdrantClient, tmp_path: Path) -> tuple[Store, Store]:
    return create_store(ADDRESS, FACTS), create_store(str(tmp_path / "store"), FACTS)


def tiles_of(source: Source, number: int) -> list[Tile]:
    place = int(source.path.strip("/"))
    west = -178.0 + 6 * place  # the last of 60 lies across the antimeridian
    return [
        Tile(source=source, window=(64 * i, 8, 64, 32), box=(west + i, -10 + i, west + i + 1.5, i), gsd_m=0.5)
        for i in range(number)
    ]


def source_of(number: int) -> Source:
    grid = Georeference("EPSG:32632", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 256, 40) if number % 2 else None
    days = (None, "2019-05-04", "2020-08-30", "2020", "2021-01")
    return Source(path=f"/{number}", stamp="1", georeference=grid, day=days[number % 5])


def test_both_stores_find_the_same(both: tuple[Store, Store]) -> None:
    """Over searches anywhere, in boxes, of days, before and behind what is dropped and written anew."""
    rng = np.random.default_rng(0)
    for number in range(60):
        source = source_of(number)
        tiles, vectors = tiles_of(source, 4), unit(rng.normal(size=(4, 8))).astype(np.float16).astype(np.float32)
        for store in both:
            store.add(tiles[:3], vectors[:3])
            store.add(tiles[3:], vectors[3:], whole=[source] if number != 5 else [])
    changes = (lambda s: None, lambda s: s.drop(["/7", "/8", "/nowhere"]), lambda s: s.drop([]))
    places = (
        None,
        Where(bbox=(-180, -90, 180, 90)),
        Where(bbox=(-20, -3, 20, 3)),
        Where(bbox=(-180, -90, -179.2, 90)),
        Where(dates=("2020", "2020")),
        Where(dates=("2019-05", "2020-08")),
        Where(dates=("2020-08-31", "2021-01")),
        Where(bbox=(-90, -90, 90, 0), dates=("2020-08-30", "2021")),
    )
    for change in changes:
        for store in both:
            change(store)
        server, folder = both
        assert len(server) == len(folder) and server.stamps() == folder.stamps() and "/5" not in server.stamps()
        assert list(server.paths()) == list(folder.paths())
        for where in places:
            query = unit(rng.normal(size=8))
            mine, theirs = (store.search(query, limit=12, where=where) for store in both)
            assert [hit.tile for hit in mine] == [hit.tile for hit in theirs] and mine, where
            np.testing.assert_allclose([h.score for h in mine], [h.score for h in theirs], atol=1e-5)


def test_what_an_interrupted_job_left_is_known_and_a_changed_file_is_not(both: tuple[Store, Store]) -> None:
    source = source_of(3)
    for store in both:
        store.add(tiles_of(source, 2), unit(np.ones((2, 8))))
        assert set(store.held(source)) == {(0, 8), (64, 8)} and not store.stamps()
        store.add(tiles_of(source, 2), unit(np.ones((2, 8))))  # the same once more
        assert len(store) == 2
        changed = Source(path=source.path, stamp="2")
        assert not store.held(changed) and len(store) == 0 and not store.paths()
        assert not store.held(source_of(9))


def test_a_store_belongs_to_one_model(server: QdrantClient) -> None:
    create_store(ADDRESS, FACTS)
    assert create_store(ADDRESS, FACTS | {"checkpoint": "elsewhere"}).facts == FACTS
    with pytest.raises(UserError, match=r"'archive' holds vectors of another model, c \(mmmmmmmm\)"):
        create_store(ADDRESS, FACTS | {"model": "n" * 16})
    with pytest.raises(UserError, match="was made with tile=256, and this is tile=512"):
        create_store(ADDRESS, FACTS | {"tile": 512})
    with pytest.raises(UserError, match=r"numbers, the vectors of Qdrant's collection 'archive' have 8"):
        open_store(ADDRESS).search(np.ones(3), limit=1)
    with pytest.raises(UserError, match="no store in Qdrant's collection 'other': make one"):
        open_store("http://localhost:6333/other")


def test_a_creation_that_was_stopped_goes_on_and_others_collections_stay(server: QdrantClient) -> None:
    form = VectorParams(size=8, distance=Distance.DOT)
    for name in ("archive", "theirs"):
        server.create_collection(name, vectors_config={"tile": form})
    server.upsert("theirs", [PointStruct(id=1, vector={"tile": [1.0] * 8}, payload={})])
    assert create_store(ADDRESS, FACTS).facts == FACTS
    with pytest.raises(UserError, match="no store in Qdrant's collection 'theirs': .* a name of its own"):
        create_store("http://localhost:6333/theirs", FACTS)
    assert server.count("theirs").count == 1


def test_index_and_search_take_an_address(
    server: QdrantClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    embedder = ColourEmbedder()
    monkeypatch.setattr("rsmoe.archive.open_embedder.open_embedder", lambda checkpoint, device: embedder)
    monkeypatch.chdir(tmp_path)
    for colour in ("red", "green", "blue"):
        paint(tmp_path / "archive" / f"{colour}.png", colour)
    (tmp_path / "archive/bad.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match=r"1 of 4 pictures are not in the store, see archive\.errors\.jsonl"):
        indexed(tmp_path / "archive", ADDRESS)  # type: ignore[arg-type]
    (tmp_path / "archive/bad.png").unlink()
    (tmp_path / "archive/blue.png").unlink()
    indexed(tmp_path / "archive", ADDRESS)  # type: ignore[arg-type]
    assert sum(embedder.seen) == 3 and not Path("archive.errors.jsonl").exists()
    assert "1 gone" in capsys.readouterr().out.replace("\n", " ")
    search.cli(["green", f"store={ADDRESS}", "out=found"])
    assert "green.png" in capsys.readouterr().out and Path("found/hits.png").is_file()
    embedder.fingerprint = "another"
    assert "holds vectors of another model" in refused(search, "green", f"store={ADDRESS}")


def test_a_server_that_is_not_there_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    here = paint(tmp_path / "archive/a.png", "red").parent
    embedder: Any = ColourEmbedder()
    monkeypatch.setattr("rsmoe.archive.open_embedder.open_embedder", lambda checkpoint, device: embedder)
    address = "http://127.0.0.1:9/archive"
    assert "Qdrant, collection 'archive'" in refused(index, f"images={here}", f"out={address}")
    assert "Is the server there" in refused(search, "red", f"store={address}")
    assert "expected the address of a Qdrant collection" in refused(search, "red", "store=http://archive")
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    assert "pip install 'rsmoe[qdrant]'" in refused(search, "red", f"store={address}")


def test_a_folder_is_a_folder(tmp_path: Path) -> None:
    store = create_store(str(tmp_path / "store"), FACTS)
    assert isinstance(store, TileStore) and isinstance(open_store(str(tmp_path / "store")), TileStore)
    assert not isinstance(store, QdrantStore)
