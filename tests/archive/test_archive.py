"""An archive that is indexed and searched: what is embedded, kept, dropped, found, and what is refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
from PIL import Image
from support.checkpoints import tiny_run
from support.colour_archive import COLOURS, ColourEmbedder, found, indexed, paint, raster, refused, unit
from support.forks import forked

import rsmoe
from rsmoe.archive.mixture_embedder import MixtureEmbedder
from rsmoe.archive.picture import Picture
from rsmoe.archive.query import query_vector
from rsmoe.archive.source_tiles import SourceTiles
from rsmoe.archive.tile import Source, Tile, box_of
from rsmoe.archive.tile_store import TileStore
from rsmoe.archive.where import Where
from rsmoe.commands import index, search
from rsmoe.errors import UserError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures of one colour, and a raster of 64 x 96 px with a blue square in its lower right corner."""
    folder = tmp_path / "pictures"
    paint(folder / "red_2019-05-04.png", "red")
    paint(folder / "below/green.jpg", "green")
    paint(folder / "white.png", "white")
    scene = np.full((64, 96, 3), COLOURS["green"], np.uint8)
    scene[32:, 64:] = COLOURS["blue"]
    raster(folder / "scene_20200830.tif", scene)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_an_archive_is_searched_by_words_by_a_picture_and_by_both(
    embedder: ColourEmbedder, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = tmp_path / "store", tmp_path / "found"
    indexed(pictures, store)
    said = capsys.readouterr().out
    assert "4 pictures embedded, 9 tiles in" in said and "images/s" in said and "9 tiles in" in said
    assert embedder.seen == [4, 4, 1]
    search.cli(["blue", f"store={store}", "limit=2", f"out={out}"])
    said = capsys.readouterr().out
    assert all(part in said for part in ("scene_20200830.tif", "64,32,32,32", "9.0102, 45.1", "2020-08-30", "10 m"))
    hits = json.loads((out / "hits.geojson").read_text())["features"]
    best = hits[0]["properties"]
    assert best["window"] == [64, 32, 32, 32] and best["cosine"] == pytest.approx(1, abs=1e-3) and best["rank"] == 1
    assert best["date"] == "2020-08-30" and best["gsd_m"] == pytest.approx(10, rel=0.01)
    assert best["id"] == f"{pictures / 'scene_20200830.tif'}#64,32,32,32"
    lon, lat = np.array(hits[0]["geometry"]["coordinates"][0]).T
    expected = rasterio.warp.transform_bounds("EPSG:32632", "EPSG:4326", 5e5 + 640, 5e6 - 640, 5e5 + 960, 5e6 - 320)
    np.testing.assert_allclose((lon.min(), lat.min(), lon.max(), lat.max()), expected, atol=1e-6)
    assert Image.open(out / "hits.png").size[0] == 1440
    search.cli([f"image={paint(tmp_path / 'query.png', 'red')}", f"store={store}", "limit=1", f"out={out}"])
    (hit,) = json.loads((out / "hits.geojson").read_text())["features"]
    assert hit["properties"]["source"].endswith("red_2019-05-04.png") and hit["properties"]["date"] == "2019-05-04"
    assert hit["geometry"] is None and hit["properties"]["gsd_m"] is None
    both = query_vector(embedder, text="red", image=str(pictures / "below/green.jpg"), raster={})
    parts = embedder.embed_texts(["red", "green"])
    np.testing.assert_allclose(both, unit(parts.sum(0)), atol=0.05)
    search.cli(["red", f"image={tmp_path / 'query.png'}", f"store={store}"])


def test_words_are_words(embedder: ColourEmbedder, pictures: Path, tmp_path: Path, monkeypatch: Any) -> None:
    store = tmp_path / "store"
    indexed(pictures, store)
    asked: list[str] = []
    monkeypatch.setattr(
        embedder,
        "embed_texts",
        lambda texts: asked.extend(texts) or unit(np.ones((1, 3))),  # type: ignore[func-returns-value]
    )
    for words in (["a harbour, with [white] ships: $5 = five"], ["a", "harbour"], ['text=it\'s a {quoted} "word"']):
        search.cli([*words, f"store={store}"])
    assert asked == ["a harbour, with [white] ships: $5 = five", "a harbour", 'it\'s a {quoted} "word"']
    assert "cannot read 'more'" in refused(search, "more", "text=words", f"store={store}")


def test_what_is_there_is_kept_and_what_has_changed_is_embedded_again(
    embedder: ColourEmbedder, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    indexed(pictures, store)
    embedder.seen.clear()
    indexed(pictures, store)
    assert embedder.seen == [] and "0 pictures embedded, 0 tiles; 4 unchanged" in capsys.readouterr().out
    paint(pictures / "red_2019-05-04.png", "blue", size=(20, 20))
    (pictures / "white.png").unlink()
    paint(pictures / "new.png", "red")
    indexed(pictures, store)
    assert embedder.seen == [2]
    assert "2 pictures embedded, 2 tiles" in (said := capsys.readouterr().out) and "1 gone" in said
    names = [Path(hit.tile.source.path).name for hit in found(store, "red", limit=99)]
    assert names[0] == "new.png" and "white.png" not in names and len(names) == 9
    assert {Path(hit.tile.source.path).name for hit in found(store, "blue", limit=2)} == {
        "red_2019-05-04.png", "scene_20200830.tif"
    }  # fmt: skip
    assert (store / "vectors.f16").stat().st_size == 9 * 3 * 2  # the places of what is gone were taken
    elsewhere = paint(tmp_path / "other/a.png", "white")
    indexed(elsewhere.parent, store)
    assert len(TileStore.open(store)) == 10  # another folder's pictures stay
    for name in ("scene_20200830.tif", "below/green.jpg"):
        (pictures / name).unlink()
    indexed(elsewhere, store)
    assert len(TileStore.open(store)) == 10  # nobody asked about that folder
    indexed(Path(f"{pictures}/*"), store)
    assert len(TileStore.open(store)) == 3


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_a_job_that_was_stopped_goes_on_at_its_tile(
    stop: int, embedder: ColourEmbedder, pictures: Path, tmp_path: Path
) -> None:
    store, whole = tmp_path / "store", tmp_path / "whole"
    indexed(pictures, whole)
    embedder.seen.clear()
    embedder.stop_after = stop
    with pytest.raises(SystemExit) as stopped:
        indexed(pictures, store, "batch_size=2")
    assert stopped.value.code == 130
    before = sum(embedder.seen)
    assert 0 < before < 9 and len(TileStore.open(store)) == before
    with (store / "vectors.f16").open("ab") as file:
        file.write(b"\x00\x7c" * 5)  # half a row and more, of a batch whose tiles were not committed
    embedder.stop_after = 10**9
    indexed(pictures, store)
    assert sum(embedder.seen) == 9
    for text in COLOURS:
        ours, theirs = (
            sorted((hit.tile.source.path, hit.tile.window, round(hit.score, 5)) for hit in found(place, text, limit=99))
            for place in (store, whole)
        )
        assert ours == theirs and len(ours) == 9


def test_a_job_that_was_killed_while_it_wrote_goes_on(embedder: ColourEmbedder, pictures: Path, tmp_path: Path) -> None:
    """SIGKILL when the vectors of the second batch are on disk, and their tiles are not committed."""
    store = tmp_path / "store"
    real, calls = TileStore._id, []

    def killed(self: TileStore, source: Source) -> int:
        calls.append(source)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, source)

    def work() -> None:
        TileStore._id = killed  # type: ignore[method-assign]
        indexed(pictures, store, "batch_size=2")

    assert forked(work).returncode == -signal.SIGKILL
    assert len(TileStore.open(store)) == 2 and (store / "vectors.f16").stat().st_size == 4 * 3 * 2
    indexed(pictures, store)
    assert sum(embedder.seen) == 7 and len(TileStore.open(store)) == 9
    assert (store / "vectors.f16").stat().st_size == 9 * 3 * 2
    assert found(store, "white")[0].tile.source.path.endswith("white.png")


def test_a_raster_that_changes_under_a_stopped_job_begins_anew(
    embedder: ColourEmbedder, pictures: Path, tmp_path: Path
) -> None:
    store, scene = tmp_path / "store", pictures / "scene_20200830.tif"
    embedder.stop_after = 2
    with pytest.raises(SystemExit):
        indexed(scene, store, "batch_size=2")
    assert len(TileStore.open(store)) == 2
    embedder.stop_after = 10**9
    raster(scene, np.full((64, 96, 3), COLOURS["red"], np.uint8))
    os.utime(scene, ns=(1, 1))
    indexed(scene, store)
    assert [round(hit.score, 3) for hit in found(store, "red", limit=99)] == [1.0] * 6


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(
    embedder: ColourEmbedder, pictures: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    indexed(pictures, store)
    (pictures / "white.png").write_bytes((pictures / "white.png").read_bytes()[:40])
    (pictures / "empty.tif").write_bytes(b"")
    raster(pictures / "deep.tif", np.ones((8, 8, 3), np.uint16))
    said = refused(index, f"images={pictures}", f"out={store}", "tile=32", "overlap=0")
    assert "3 of 6 pictures are not in the store" in said and "deep.tif stores uint16" in said
    errors = [json.loads(line) for line in (store / "errors.jsonl").read_text().splitlines()]
    assert [Path(row["source"]).name for row in errors] == ["deep.tif", "empty.tif", "white.png"]
    assert all(row["error"] for row in errors) and len(TileStore.open(store)) == 8  # of white.png nothing is left
    for name in ("deep.tif", "empty.tif"):
        (pictures / name).unlink()
    paint(pictures / "white.png", "white")
    indexed(pictures, store)
    assert not (store / "errors.jsonl").exists() and len(TileStore.open(store)) == 9


def test_a_raster_that_breaks_off_leaves_nothing(
    embedder: ColourEmbedder, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of its tiles are in the store, and some wait, when the first one comes that cannot be read."""
    store, real = tmp_path / "store", SourceTiles.cut

    def cut(self: SourceTiles, window: tuple[int, int, int, int]) -> np.ndarray | None:
        if window[:2] == (64, 32):
            raise UserError("scene.tif is truncated or damaged")
        return real(self, window)

    monkeypatch.setattr(SourceTiles, "cut", cut)
    said = refused(index, f"images={pictures}", f"out={store}", "tile=32", "overlap=0", "batch_size=4")
    assert "1 of 4 pictures" in said and "scene.tif is truncated" in said
    assert {Path(hit.tile.source.path).suffix for hit in found(store, "red", limit=99)} == {".jpg", ".png"}
    monkeypatch.setattr(SourceTiles, "cut", real)
    indexed(pictures, store)
    assert len(TileStore.open(store)) == 9


def test_a_store_that_cannot_be_written_is_no_fault_of_the_pictures(
    embedder: ColourEmbedder, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "store/vectors.f16").mkdir(parents=True)
    said = refused(index, f"images={pictures}", f"out={tmp_path / 'store'}", "tile=32", "overlap=0")
    assert "cannot write" in said and "Is a directory" in said and "pictures" not in said.split("/store")[1]


def test_tiles_without_data_are_left_out(embedder: ColourEmbedder, tmp_path: Path) -> None:
    scene = np.zeros((64, 64, 3), np.uint8)
    scene[:32] = COLOURS["red"]
    raster(tmp_path / "a.tif", scene, nodata=0)
    indexed(tmp_path / "a.tif", tmp_path / "store")
    assert {hit.tile.window for hit in found(tmp_path / "store", "red")} == {(0, 0, 32, 32), (32, 0, 32, 32)}
    with pytest.raises(SystemExit):
        indexed(raster(tmp_path / "b.tif", 0 * scene, nodata=0), tmp_path / "store")


def test_a_raster_too_large_to_be_read_at_once_gives_the_same(
    embedder: ColourEmbedder, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = pictures / "scene_20200830.tif"
    indexed(scene, tmp_path / "whole", "overlap=0.5", "tile=40")
    monkeypatch.setattr("rsmoe.geo.dates.WHOLE_PIXELS", 1000)
    assert not SourceTiles(Picture.of(scene), bands=3, raster={}, side=40, overlap=0.5).dates.in_memory
    indexed(scene, tmp_path / "lazy", "overlap=0.5", "tile=40")
    whole, lazy = (
        [(hit.tile.window, hit.tile.box, round(hit.score, 5)) for hit in found(tmp_path / name, "blue", limit=99)]
        for name in ("whole", "lazy")
    )
    assert whole == lazy and {window[:2] for window, *_ in lazy} == {
        (left, top) for left in (0, 19, 37, 56) for top in (0, 12, 24)
    }


def test_two_that_write_take_turns(tmp_path: Path) -> None:
    facts = {"checkpoint": "c", "model": "m", "dim": 2}
    stores = [TileStore.create(tmp_path / "store", facts) for _ in range(2)]
    for number in range(6):
        tile = Tile(source=Source(path=f"/{number % 3}", stamp="1"), window=(number, 0, 1, 1))
        stores[number % 2].add([tile], np.array([[1.0, number]]))
        if number == 3:
            stores[1].drop(["/1"])
    vectors = np.fromfile(tmp_path / "store/vectors.f16", "<f2").reshape(-1, 2)
    hits = stores[0].search(np.array([0.0, 1.0]), limit=9)
    assert [(hit.tile.window[0], hit.score) for hit in hits] == [(n, n) for n in (5, 4, 3, 2, 0)]
    assert sorted(vectors[:, 1].tolist()) == [0, 2, 3, 4, 5]


def test_a_store_without_a_tile_says_so(embedder: ColourEmbedder, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert "1 of 1 pictures are not in the store" in refused(index, f"images={tmp_path}", f"out={tmp_path / 'store'}")
    assert "0 tiles, empty" in refused(search, "red", f"store={tmp_path / 'store'}")


def test_a_search_looks_where_and_when_it_is_told(embedder: ColourEmbedder, pictures: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    indexed(pictures, store)
    west, south, east, north = rasterio.warp.transform_bounds(
        "EPSG:32632", "EPSG:4326", 5e5 + 650, 5e6 - 630, 5e5 + 950, 5e6 - 330
    )
    for bbox in ((west, south, east, north), (east - 1e-5, south, east + 1, north), (-180, -90, 180, 90)):
        (best, *others) = found(store, "green", limit=99, where=Where(bbox=bbox))
        assert {hit.tile.source.day for hit in (best, *others)} == {"2020-08-30"}
        assert len(others) == (5 if bbox[0] == -180 else 0)
    assert found(store, "green", where=Where(bbox=(20, south, 21, north))) == []
    days = {
        ("2019-05-04", "2019-05-04"): 1, ("2019", "2019"): 1, ("2019", "2020-08"): 7, ("2019-05-05", "2020-07"): 0,
        ("2020-08-30", "2020"): 6, ("2019-05-04", "2019"): 1,
    }  # fmt: skip
    for dates, number in days.items():
        assert len(found(store, "red", limit=99, where=Where(dates=dates))) == number, dates
    search.cli(["red", f"store={store}", "dates=2019-05", f"out={tmp_path / 'found'}"])
    (hit,) = json.loads((tmp_path / "found/hits.geojson").read_text())["features"]
    assert hit["properties"]["date"] == "2019-05-04"
    said = refused(search, "red", f"store={store}", "dates=[2001,2002]")
    assert "nothing found" in said and "9 tiles" in said and "dates=[2001,2002]" in said


def test_a_tile_across_the_antimeridian_is_found_from_either_side(tmp_path: Path) -> None:
    path = raster(
        tmp_path / "a.tif", np.full((8, 8, 3), 9, np.uint8), crs="EPSG:4326", transform=(0.5, 0, 178, 0, -0.5, 10)
    )
    tiles = SourceTiles(Picture.of(path), bands=3, raster={}, side=0, overlap=0)
    ((tile, _),) = tiles.tiles()
    assert tile.box == (178, 6, 182, 10) and tile.footprint()["type"] == "MultiPolygon"  # type: ignore[index]
    facts = {"checkpoint": "c", "model": "m", "dim": 2}
    store = TileStore.create(tmp_path / "store", facts)
    store.add([tile], np.array([[1.0, 0.0]]))
    for bbox, number in (((179, 0, 180, 20), 1), ((-180, 0, -179, 20), 1), ((-177, 0, 177, 20), 0)):
        assert len(store.search(np.array([1.0, 0.0]), limit=5, where=Where(bbox=bbox))) == number
    pole = {"type": "Polygon", "coordinates": [[[-180, 80], [180, 80], [180, 90], [-180, 90], [-180, 80]]]}
    assert box_of(pole) == (-180, 80, 180, 90)


def test_a_search_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a sort of all products; over several chunks, with holes in the rows, and with a filter."""
    monkeypatch.setattr("rsmoe.archive.vector_file._CHUNK", 64)
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(500, 16))).astype("<f2")
    tiles = [
        Tile(source=Source(path=f"/{i % 50}", stamp="1", day=f"20{i % 50:02}-01-01"), window=(i, 0, 1, 1))
        for i in range(500)
    ]
    store = TileStore.create(tmp_path / "store", {"checkpoint": "c", "model": "m", "dim": 16})
    for start in range(0, 500, 30):
        store.add(tiles[start : start + 30], vectors[start : start + 30])
    store.drop([f"/{i}" for i in range(7, 12)])
    left = [i for i in range(500) if i % 50 not in range(7, 12)]
    for where, some in ((None, left), (Where(dates=("2020", "2029")), [i for i in left if 20 <= i % 50 < 30])):
        for query in unit(rng.normal(size=(5, 16))):
            scores = vectors[some].astype(np.float32) @ query
            hits = store.search(query, limit=10, where=where)
            assert [hit.tile.window[0] for hit in hits] == [some[i] for i in np.argsort(-scores)[:10]]
            np.testing.assert_allclose([hit.score for hit in hits], -np.sort(-scores)[:10], atol=1e-6)
    assert len(store.search(query, limit=1000)) == len(left) == len(store)
    with pytest.raises(UserError, match="numbers"):
        store.search(np.ones(3), limit=1)


BAD_SEARCHES: list[tuple[list[str], str]] = [
    (["bbox=[10,50,9,51]"], "bbox=[10,50,9,51]: expected [west,south,east,north] with west < east"),
    (["bbox=[9,51,10,50]"], "south < north"),
    (["bbox=[9,50,200,51]"], "longitudes from -180 to 180"),
    (["dates=[2020-02-30,2021]"], "'2020-02-30' is no day"),
    (["dates=[yesterday,2021]"], "'yesterday' is no day"),
    (["dates=2021-13"], "'2021-13' is no day"),
    (["dates=[2021,2020]"], "dates=[2021,2020]: the first day comes behind the last one"),
    (["image=nosuch.png"], "no image file nosuch.png"),
    (["store=nosuch"], "no store in nosuch: make one"),
]


@pytest.mark.parametrize(("words", "expected"), BAD_SEARCHES, ids=lambda part: str(part)[:40])
def test_bad_searches_are_one_line(
    words: list[str], expected: str, embedder: ColourEmbedder, pictures: Path, tmp_path: Path
) -> None:
    indexed(pictures, tmp_path / "store")
    given = [] if words[0].startswith("store=") else [f"store={tmp_path / 'store'}"]
    assert expected in refused(search, "red", *given, *words)


def test_bad_archives_are_one_line(embedder: ColourEmbedder, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    out = f"out={tmp_path / 'store'}"
    assert f"no image file or folder {tmp_path / 'nosuch'}" in refused(index, f"images={tmp_path / 'nosuch'}", out)
    assert "holds no picture" in refused(index, f"images={tmp_path / 'empty'}", out)
    assert "no picture fits this pattern" in refused(index, f"images={pictures}/*.jp2", out)
    assert "download it first" in refused(index, "images=https://example.com/a.tif", out)
    assert not (tmp_path / "store").exists()
    assert "is not a folder" in refused(index, f"images={pictures}", f"out={tmp_path}/file/store")
    assert "give words or image=" in refused(search, f"store={tmp_path}")


def test_a_store_of_another_model_or_of_other_tiles_is_refused(
    embedder: ColourEmbedder, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    indexed(pictures, store)
    assert "was made with tile=32, and this is tile=64" in refused(
        index, f"images={pictures}", f"out={store}", "tile=64", "overlap=0"
    )
    assert "was made with raster={}" in refused(
        index, f"images={pictures}", f"out={store}", "tile=32", "overlap=0", "raster.bands=[3,2,1]"
    )
    monkeypatch.setattr(embedder, "fingerprint", "another")
    for said in (
        refused(index, f"images={pictures}", f"out={store}", "tile=32", "overlap=0"),
        refused(search, "red", f"store={store}"),
    ):
        assert "holds vectors of another model, starter (c0105)" in said and "(another)" in said
    (tmp_path / "bad").mkdir()
    for content in (b"no database at all", b""):
        (tmp_path / "bad/tiles.sqlite").write_bytes(content)
        assert "is no store of rsmoe index, or damaged" in refused(search, "red", f"store={tmp_path / 'bad'}")


def test_a_search_shows_what_is_left_of_the_pictures(embedder: ColourEmbedder, pictures: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "store", tmp_path / "found"
    indexed(pictures, store)
    (pictures / "white.png").unlink()
    raster(pictures / "scene_20200830.tif", np.full((40, 40, 3), 9, np.uint8))
    search.cli(["red", f"store={store}", f"out={out}"])
    assert (out / "hits.png").stat().st_size > 1000
    assert len(json.loads((out / "hits.geojson").read_text())["features"]) == 9


def test_a_mixture_embeds_as_it_does_elsewhere(tmp_path: Path, pictures: Path) -> None:
    run = tiny_run(tmp_path / "run", "temporal.dropout=0.0")
    embedder, model = MixtureEmbedder.open(str(run), device="cpu"), rsmoe.load(run, device="cpu")
    images = [np.array(Image.open(path)) for path in sorted(pictures.glob("*.png"))]
    np.testing.assert_allclose(embedder.embed_images(images), model.embed(images), atol=1e-6)
    np.testing.assert_allclose(embedder.embed_texts(["a harbour"]), model.embed_texts(["a harbour"]), atol=1e-6)
    assert embedder.dim == 8 and embedder.bands == 3 and len(embedder.fingerprint) == 64
    plain = tiny_run(tmp_path / "plain", experts="expert=[vqa]")
    with pytest.raises(UserError, match="no retrieval expert, it has dense: give checkpoint=starter"):
        MixtureEmbedder.open(str(plain), device="cpu")


def test_the_starter_searches(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    index.cli([f"images={pictures}", f"out={store}", "tile=0", "device=cpu"])
    search.cli(["a green glimmerfield", f"store={store}", "device=cpu", "limit=1", f"out={tmp_path / 'found'}"])
    assert "words that the model has never read: glimmerfield\n" in capsys.readouterr().out
    facts = TileStore.open(store).facts
    assert facts["checkpoint"] == "starter" and facts["dim"] == 256 and len(facts["model"]) == 64
    (hit,) = json.loads((tmp_path / "found/hits.geojson").read_text())["features"]
    assert -1 <= hit["properties"]["cosine"] <= 1
