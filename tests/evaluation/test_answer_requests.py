"""Folders, patterns, lists, addresses and jsonl of requests on the command line; jobs that go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import rasterio.windows
from PIL import Image
from support.checkpoints import tiny_run
from support.servers import serve_apart as serve_apart

import rsmoe
import rsmoe.predict
from rsmoe.errors import UserError
from rsmoe.evaluation.answer_file import AnswerFile
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.formats.answer_rows import answer_of, file_rows
from rsmoe.evaluation.remote import fetch_picture
from rsmoe.evaluation.request import Request
from rsmoe.evaluation.request_list import list_requests, read_requests
from rsmoe.geo.dates import Dates

CALM = ("temporal.dropout=0.0",)
UTM = (10.0, 0.0, 5e5, 0.0, -10.0, 5e6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"), *CALM, steps=2)


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Five pictures, one in a folder, two with a place."""
    folder = tmp_path / "tiles"
    (folder / "ice").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "ice/a.png")):
        Image.fromarray(pixels(seed)).save(folder / name)
    raster(folder / "c.tif", 3)
    raster(folder / "d.tif", 4, transform=(10.0, 0.0, 6e5, 0.0, -10.0, 5e6))
    (folder / "notes.txt").write_text("no picture")
    return folder


def pixels(seed: int, size: tuple[int, int] = (24, 30)) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (*size, 3), dtype=np.uint8)


def raster(path: Path, seed: int, *, size: tuple[int, int] = (24, 30), transform: Any = UTM, **more: Any) -> Path:
    options = {"driver": "GTiff", "height": size[0], "width": size[1], "count": 3, "dtype": "uint8"}
    options |= {"crs": "EPSG:32632", "transform": rasterio.Affine(*transform), "photometric": "RGB"}
    with rasterio.open(path, "w", **(options | more)) as file:
        file.write(np.moveaxis(pixels(seed, size), -1, 0))
    return path


def ask(run: Path, *words: str) -> None:
    rsmoe.predict.cli([f"checkpoint={run}", "beams=1", "max_new=3", "device=cpu", *words])


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Ids of the requests of each batch that the model answered."""
    batches: list[list[str]] = []
    real = Assistant.answer

    def answer(self: Assistant, requests: Any, **options: Any) -> Any:
        batches.append([request.id for request in requests])
        return real(self, requests, **options)

    monkeypatch.setattr(Assistant, "answer", answer)
    return batches


def test_a_folder_gives_a_line_and_a_footprint_for_each_picture(
    run: Path, tiles: Path, tmp_path: Path, asked: list[list[str]]
) -> None:
    out = tmp_path / "out"
    ask(run, f"image={tiles}", "instruction=how many ships are there in the image ?", f"out={out}", "batch_size=3")
    names = ["a.png", "b.png", "c.tif", "d.tif", "ice/a.png"]
    assert asked == [names[:3], names[3:]]
    found = rows(out)
    assert [row["id"] for row in found] == names
    (model,) = [rsmoe.load(run, device="cpu")]
    for row in found:
        reply = model.ask(str(tiles / row["id"]), row["instruction"], beams=1, max_new=3, confidence=True)
        assert row["answer"] == reply.text and row["routing"] == pytest.approx(reply.routing, abs=1e-5)
        assert row["confidence"] == pytest.approx(reply.confidence, abs=1e-3)
        assert row["checkpoint"] == str(run) and len(row["checkpoint_sha256"]) == 64 and row["rsmoe"]
        assert row["decoding"] == {"beams": 1, "max_new": 3} and row["images"] == [str(tiles / row["id"])]
        assert row["crs"] == ("EPSG:32632" if row["id"].endswith("tif") else None)
    footprints = json.loads((out / "answers.geojson").read_text())["features"]
    assert [f["properties"]["id"] for f in footprints] == ["c.tif", "d.tif"]
    assert footprints[0]["properties"]["answer"] == found[2]["answer"]
    lon, lat = np.array(footprints[0]["geometry"]["coordinates"][0]).T
    west, south, east, north = rasterio.warp.transform_bounds("EPSG:32632", "EPSG:4326", 5e5, 5e6 - 240, 5e5 + 300, 5e6)
    np.testing.assert_allclose((lon.min(), lat.min(), lon.max(), lat.max()), (west, south, east, north), atol=1e-6)
    on_map = json.loads((out / "answers_crs.geojson").read_text())
    assert on_map["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32632"
    assert np.array(on_map["features"][0]["geometry"]["coordinates"][0]).max(axis=0).tolist() == [5e5 + 300, 5e6]


def test_a_sampled_answer_is_that_of_its_seed(run: Path, tiles: Path, tmp_path: Path, asked: list[list[str]]) -> None:
    def words(name: str, *more: str) -> tuple[str, ...]:
        return f"image={tiles}", f"out={tmp_path / name}", "max_new=6", *more

    def sample(name: str, *more: str) -> list[dict[str, Any]]:
        rsmoe.predict.cli([f"checkpoint={run}", "device=cpu", "temperature=1.5", *words(name, *more)])
        return rows(tmp_path / name)

    first, other = sample("a", "batch_size=3"), sample("c", "seed=5")
    assert [row["answer"] for row in first] == [row["answer"] for row in sample("b", "batch_size=1")]
    assert [row["answer"] for row in first] != [row["answer"] for row in other]
    assert other[0]["decoding"] == {"beams": 1, "max_new": 6, "temperature": 1.5, "top_p": 1, "seed": 5}
    asked.clear()
    word = first[0]["answer"].split()[1]
    ended = sample("a", f"stop=[{word}]", "batch_size=3")
    assert sum(map(len, asked)) == 5  # it is another job
    assert [row["answer"] for row in ended] == [row["answer"].partition(word)[0].strip() for row in first]
    assert ended[0]["decoding"]["stop"] == [word]
    rsmoe.predict.cli(
        [f"checkpoint={run}", "device=cpu", "temperature=1.5", f"image={tiles / 'a.png'}", "max_new=6",
         f"out={tmp_path / 'one'}"]
    )  # fmt: skip
    (alone,) = rows(tmp_path / "one")
    assert (alone["answer"], alone["decoding"]) == (first[0]["answer"], first[0]["decoding"])


def test_a_job_that_was_stopped_goes_on(
    run: Path, tiles: Path, tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, words = tmp_path / "out", (f"image={tiles}", f"out={tmp_path / 'out'}", "batch_size=2")
    ask(run, *words)
    whole = rows(out)
    asked.clear()
    ask(run, *words)
    assert asked == [] and rows(out) == whole
    lines = (out / "answers.jsonl").read_text().splitlines(keepends=True)
    (out / "answers.jsonl").write_text("".join(lines[:2]) + lines[2][:40])  # killed while it wrote
    ask(run, *words)
    assert asked == [["c.tif", "d.tif"], ["ice/a.png"]] and rows(out) == whole
    asked.clear()
    Image.fromarray(pixels(9, (20, 20))).save(tiles / "b.png")
    ask(run, *words)
    assert asked == [["b.png"]] and [row["id"] for row in rows(out)] == [row["id"] for row in whole]
    asked.clear()
    ask(run, *words, "max_new=4")
    assert sum(map(len, asked)) == 5
    asked.clear()
    moved = tmp_path / "moved"
    os.rename(run, moved)
    try:
        ask(moved, *words, "max_new=4")
    finally:
        os.rename(moved, run)
    assert asked == []  # the same weights at another place
    other = tiny_run(tmp_path / "other", *CALM, steps=1)
    ask(other, *words, "max_new=4")
    assert sum(map(len, asked)) == 5
    assert len({row["checkpoint_sha256"] for row in rows(out)}) == 1


def test_answers_that_are_replaced_are_counted(
    run: Path, tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another question to the same folder loses the answers to the first, which may have taken hours."""
    words = (f"image={tiles}", f"out={tmp_path / 'out'}")
    said = []
    for instruction, more in (("what is it ?", ""), ("what is it ?", ""), ("where ?", ""), ("where ?", "x")):
        if more:
            Image.fromarray(pixels(9, (20, 20))).save(tiles / "b.png")
        ask(run, *words, f"instruction={instruction}")
        said.append(capsys.readouterr().out)
    of_others = [f"{count} of 5 requests have an answer in {tmp_path / 'out'} to other words" for count in (5, 1)]
    assert [own.count("to other words") for own in said] == [0, 0, 1, 1]
    assert of_others[0] in said[2] and of_others[1] in said[3] and "4 of 5 requests have their answer in" in said[3]


def test_one_file_that_cannot_be_read_stops_no_other(
    run: Path, tiles: Path, tmp_path: Path, asked: list[list[str]]
) -> None:
    out = tmp_path / "out"
    (tiles / "b.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(SystemExit, match=r"1 of 5 requests have no answer, the first: b.png: .*b.png"):
        ask(run, f"image={tiles}", f"out={out}")
    found = {row["id"]: row for row in rows(out)}
    assert found["b.png"]["answer"] is None and "b.png" in found["b.png"]["error"]
    assert all(row["answer"] is not None for key, row in found.items() if key != "b.png")
    asked.clear()
    Image.fromarray(pixels(1)).save(tiles / "b.png")
    ask(run, f"image={tiles}", f"out={out}")
    assert asked == [["b.png"]] and all(row["answer"] is not None for row in rows(out))


def test_requests_of_a_jsonl_are_scored_as_they_are_written(run: Path, tiles: Path, tmp_path: Path) -> None:
    given = [
        {"id": 7, "image": "a.png", "instruction": "how many ?", "task": "vqa", "history": [["ships ?", "yes"]]},
        {"images": ["c.tif", "d.tif"], "id": "pair"},
        {"image": "b.png"},
    ]
    (tiles / "ask.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    out = tmp_path / "out"
    raster(tiles / "d.tif", 4)
    ask(run, f"requests={tiles / 'ask.jsonl'}", "instruction=describe it", f"out={out}")
    found = rows(out)
    assert [row["id"] for row in found] == ["7", "pair", "ask.jsonl, line 3"]
    assert (found[0]["task"], found[0]["protocol"]) == ("vqa", "vqa/exact@1") and "protocol" not in found[1]
    assert [row["instruction"] for row in found] == ["how many ?", "describe it", "describe it"]
    assert found[1]["images"] == [str(tiles / "c.tif"), str(tiles / "d.tif")]
    read = file_rows(out / "answers.jsonl")
    assert [answer_of(row, where) for where, row in read] == [row["answer"] for row in found]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "a.png", "images": ["a.png"]}, "line 1: expected 'image' or 'images', one of them"),
        ({"instruction": "x"}, "line 1: expected 'image' or 'images'"),
        ({"image": "a.png", "task": "vqaa"}, "line 1: unknown task 'vqaa'. Did you mean 'vqa'"),
        ({"image": "a.png", "history": ["x"]}, r"line 1: expected history as \[\[question, answer\]"),
    ],
)
def test_a_request_of_another_form_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=message):
        read_requests(tmp_path / "a.jsonl", instruction=None)


def names(*given: Any, **options: Any) -> list[tuple[str, ...]]:
    image = str(given[0]) if len(given) == 1 else [str(name) for name in given]
    found = list_requests(image, **({"dates": None, "instruction": "?"} | options))
    return [tuple(Path(p).name for p in request.pictures) for request in found]


def test_what_image_may_be(tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(tiles / "a.png") == [("a.png",)]
    assert names(tiles / "*.png") == [("a.png",), ("b.png",)]
    assert names(f"{tiles}/**/a.png") == [("a.png",), ("a.png",)]
    assert len({request.id for request in list_requests(f"{tiles}/**/a.png", dates=None, instruction=None)}) == 2
    assert names(tiles / "c.tif", tiles / "d.tif") == [("c.tif", "d.tif")]
    assert names(tiles / "a.png", tiles / "b.png", dates=1) == [("a.png",), ("b.png",)]
    four = [tiles / name for name in ("a.png", "b.png", "c.tif", "d.tif")]
    assert names(*four, dates=2) == [("a.png", "b.png"), ("c.tif", "d.tif")]
    assert names("https://example.com/x/a.tif?token=1") == [("a.tif?token=1",)]
    after = tmp_path / "after"
    after.mkdir()
    for name in ("a.png", "b.jpg", "c.tif", "d.tif"):
        Image.fromarray(pixels(0)).save(after / name.replace("tif", "png"))
    assert names(tiles, after) == [("a.png", "a.png"), ("b.png", "b.jpg"), ("c.tif", "c.png"), ("d.tif", "d.png")]
    Image.fromarray(pixels(0)).save(tiles / "x[1]*.png")
    assert names(tiles / "x[1]*.png") == [("x[1]*.png",)]  # a file goes before a pattern
    (after / "b.jpg").unlink()
    for wrong, options, message in (
        ([tiles / "*.gif"], {}, "no picture fits this pattern"),
        ([tmp_path / "none"], {}, "no image file"),
        ([tiles, after], {}, "b.png has no other date in"),
        ([tiles, tiles / "a.png"], {}, "expected files or folders"),
        ([tiles / "a.png", tiles / "none.png"], {}, "no image file .*none.png; image=.a,b. is split at its commas"),
        ([*four[:3]], {"dates": 2}, "3 pictures are no groups of dates=2"),
    ):
        with pytest.raises(UserError, match=message):
            names(*wrong, **options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"give image=\.\.\. or requests=\.\.\., one of them"),
        (["image=a.png", "requests=a.jsonl"], r"give image=\.\.\. or requests=\.\.\., one of them"),
        (["image={tiles}", "out={tiles}/mask.png"], "is a picture, for the mask of one request; of 5, give a folder"),
        (["image={tiles}/a.png", "boxes=minigtp"], "unknown box convention 'minigtp'. Did you mean 'minigpt'"),
        (["image={tiles}/a.png", "layers=gpkg"], "layers=gpkg is about the files of an answer: give out=folder too"),
        (["image={tiles}/a.png", "layers=fgb", "out=a.png"], "out=a.png is a picture: layers=fgb needs a folder"),
    ],
)
def test_words_that_do_not_go_together(words: list[str], message: str, run: Path, tiles: Path) -> None:
    with pytest.raises(SystemExit, match=message):
        ask(run, *(word.format(tiles=tiles) for word in words))


def test_another_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"id": "a", "text": "mine"}\n')
    with pytest.raises(UserError, match="answers.jsonl, line 1: no answer of rsmoe.predict. Give another folder: out="):
        AnswerFile(tmp_path, facts={})


def test_lines_of_other_requests_stay(tmp_path: Path) -> None:
    first, second = (Request(id=name, pictures=("a.png",)) for name in ("one", "two"))
    AnswerFile(tmp_path, facts={}).add([(first, {"id": "one", "answer": "a"})])
    job = AnswerFile(tmp_path, facts={})
    job.add([(second, {"id": "two", "answer": "b"})])
    assert job.finish([second]) == ["answers.jsonl"]
    assert [(row["id"], row["answer"]) for row in rows(tmp_path)] == [("one", "a"), ("two", "b")]


@pytest.mark.parametrize(
    ("crs", "names"),
    [
        ('LOCAL_CS["site",UNIT["metre",1]]', ["answers.jsonl", "answers_crs.geojson"]),
        ("EPSG:32632", ["answers.jsonl", "answers.geojson", "answers_crs.geojson"]),
        (None, ["answers.jsonl"]),
    ],
)
def test_a_picture_that_lies_nowhere_has_no_footprint(crs: str | None, names: list[str], tmp_path: Path) -> None:
    request = Request(id="one", pictures=("a.png",))
    job = AnswerFile(tmp_path, facts={})
    job.add([(request, {"id": "one", "answer": "a", "crs": crs, "transform": list(UTM), "size_px": [30, 24]})])
    assert job.finish([request]) == names


def test_boxes_go_to_the_map(run: Path, tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from rsmoe.evaluation import responder

    real = responder.answer_batch
    found = {"text": "{<50><50><100><75>}", "mask": np.ones((24, 30), bool)}
    monkeypatch.setattr(responder, "answer_batch", lambda *a, **k: [replace(p, **found) for p in real(*a, **k)])
    ask(run, f"image={tiles / 'c.tif'}", "boxes=minigpt", f"out={tmp_path / 'one'}")
    ask(run, f"image={tiles}", "boxes=minigpt", f"out={tmp_path / 'many'}")
    for folder in (tmp_path / "one", tmp_path / "many" / "c.tif"):
        (feature,) = json.loads((folder / "boxes_crs.geojson").read_text())["features"]
        assert feature["properties"]["box_px"] == [15, 12, 30, 18]
        ring = np.array(feature["geometry"]["coordinates"][0])
        np.testing.assert_allclose([*ring.min(axis=0), *ring.max(axis=0)], [500150, 4999820, 500300, 4999880])
        (degrees,) = json.loads((folder / "boxes.geojson").read_text())["features"]
        moved = rasterio.warp.transform_geom("EPSG:32632", "EPSG:4326", feature["geometry"])
        assert {tuple(p) for p in np.round(moved["coordinates"][0], 6).tolist()} <= {
            tuple(p) for p in np.round(degrees["geometry"]["coordinates"][0], 6).tolist()
        }
        with rasterio.open(folder / "mask.tif") as file:
            assert file.crs.to_epsg() == 32632 and bool((file.read(1) == 1).all())
    files = next(row for row in rows(tmp_path / "many") if row["id"] == "c.tif")["files"]
    names = [
        "mask.tif",
        "mask.geojson",
        "mask_crs.geojson",
        "mask.qml",
        "mask_crs.qml",
        "boxes.geojson",
        "boxes_crs.geojson",
    ]
    names += ["boxes.qml", "boxes_crs.qml"]
    assert files == [f"c.tif/{name}" for name in names]
    assert any(p.name.startswith("ice_a.png-") for p in (tmp_path / "many").iterdir())  # "ice/a.png" is no folder


def test_an_address_is_read_by_its_overviews_or_its_window(
    tmp_path: Path, serve_apart: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 1024
    source = raster(tmp_path / "big.tif", 1, size=(side, side), tiled=True, blockxsize=128, blockysize=128, nodata=0)
    with rasterio.open(source, "r+") as file:
        file.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    url = serve_apart(tmp_path)
    (tmp_path / "whole").mkdir()
    path, note = fetch_picture(f"{url}/big.tif", tmp_path / "whole")
    assert note == "" and path.name == "big.tif"
    with rasterio.open(path) as copy, rasterio.open(source) as file:
        np.testing.assert_array_equal(copy.read(), file.read())
        assert (copy.crs, copy.transform, copy.nodata) == (file.crs, file.transform, 0)
    monkeypatch.setattr("rsmoe.evaluation.remote.WHOLE_PIXELS", 128 * 128)
    path, note = fetch_picture(f"{url}/big.tif", tmp_path / "whole")
    assert "1024 x 1024 px at an address are read thinned" in note and "raster.window=" in note
    with rasterio.open(path) as copy, rasterio.open(source) as file:
        assert copy.shape == (128, 128) and copy.bounds == file.bounds
    path, note = fetch_picture(f"{url}/big.tif", tmp_path / "whole", window=(100, 200, 60, 50))
    with rasterio.open(path) as copy:
        np.testing.assert_array_equal(np.moveaxis(copy.read(), 0, -1), pixels(1, (side, side))[200:250, 100:160])
        assert (copy.transform.c, copy.transform.f) == (5e5 + 1000, 5e6 - 2000)
    with pytest.raises(UserError, match=r"raster.window=\[1000, 0, 60, 50\] lies outside of .*1024 x 1024"):
        fetch_picture(f"{url}/big.tif", tmp_path / "whole", window=(1000, 0, 60, 50))
    with pytest.raises(UserError, match="none.tif cannot be read"):
        fetch_picture(f"{url}/none.tif", tmp_path / "whole")


def test_an_address_is_asked_like_a_file(
    run: Path, tiles: Path, tmp_path: Path, serve_apart: Callable[[Path], str]
) -> None:
    url = serve_apart(tiles)
    model = rsmoe.load(run, device="cpu")
    for name in ("c.tif", "a.png"):
        here, there = (model.ask(place, "how many ?", max_new=3) for place in (tiles / name, f"{url}/{name}"))
        assert here.text == there.text and here.dates.georeference == there.dates.georeference
        np.testing.assert_array_equal(here.shown.images[0], there.shown.images[0])
    ask(run, f"image={url}/c.tif", f"out={tmp_path / 'out'}")
    assert rows(tmp_path / "out")[0]["images"] == [f"{url}/c.tif"]


@pytest.fixture(scope="module")
def cover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a map of three classes."""
    words = ("maps=[land_cover]", "maps.land_cover.classes=[bare land,water,forest]", "maps.land_cover.channels=8")
    return tiny_run(tmp_path_factory.mktemp("cover"), *CALM, *words, steps=1)


@pytest.mark.parametrize(("size", "tile_px", "tiles"), [((24, 30), 30, 1), ((80, 100), 32, 12)])
def test_land_cover_goes_to_the_map(
    size: tuple[int, int], tile_px: int, tiles: int, cover: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every pixel with data lies in the polygon of its class, the first class too; no other does."""
    place = raster(tmp_path / "a.tif", 3, nodata=0, size=size)
    with rasterio.open(place, "r+") as file:
        file.write(np.zeros((3, size[0], 4), np.uint8), window=rasterio.windows.Window(0, 0, 4, size[0]))
    ask(cover, f"image={place}", f"out={tmp_path / 'one'}", "simplify_px=0")
    said = capsys.readouterr().out
    model = rsmoe.load(cover, device="cpu")
    reply = model.ask(place, beams=1, max_new=3, tile=None)
    assert reply.land_cover.shape == reply.cover.kinds.shape == size and reply.land_cover.max() < 3
    assert (reply.cover.tile_px, reply.cover.tiles) == (tile_px, tiles)
    if tiles == 1:
        np.testing.assert_array_equal(reply.cover.kinds[:, 4:], reply.land_cover[:, 4:])
    assert model.cover_classes == ("bare land", "water", "forest")
    with rasterio.open(tmp_path / "one" / "land_cover.tif") as file:
        values = file.read(1)
        assert file.tags()["CLASS_0"] == "bare land" and file.crs.to_epsg() == 32632
        shown = [file.colormap(1)[k] for k in range(3)]
        assert len(set(shown)) == 3
        transform = file.transform
    table = ElementTree.parse(tmp_path / "one" / "land_cover.tif.aux.xml").getroot()
    rows = [[cell.text for cell in row] for row in table.iter("Row")]
    assert rows == [[str(k), name, *map(str, shown[k][:3])] for k, name in enumerate(model.cover_classes)]
    expected = np.where(reply.dates.valid, reply.cover.kinds, 255)
    np.testing.assert_array_equal(values, expected)
    assert (values[:, :4] == 255).all() and (values[:, 4:] < 3).all()
    features = json.loads((tmp_path / "one" / "land_cover_crs.geojson").read_text())["features"]
    shapes = [(f["geometry"], f["properties"]["class"]) for f in features]
    burnt = rasterio.features.rasterize(shapes, out_shape=values.shape, transform=transform, fill=255)
    np.testing.assert_array_equal(burnt, expected)
    named = {(f["properties"]["class"], f["properties"]["name"]) for f in features}
    assert named <= set(enumerate(model.cover_classes))
    on_earth = json.loads((tmp_path / "one" / "land_cover.geojson").read_text())
    assert len(on_earth["features"]) == len(features) and "crs" not in on_earth
    picture = np.asarray(Image.open(tmp_path / "one" / "land_cover.png"))
    assert picture.shape[1] > 1000 and picture.std() > 10
    shares = json.loads((tmp_path / "one" / "answer.json").read_text())["land_cover"]
    known = values[values != 255]
    for name, found in shares.items():
        of_it = int((known == model.cover_classes.index(name)).sum())
        assert (found["pixels"], found["share"]) == (of_it, pytest.approx(of_it / known.size))
        assert found["area_m2"] == pytest.approx(100 * of_it, rel=0.01)  # pixels of ten metres
    assert sum(found["share"] for found in shares.values()) == pytest.approx(1)
    first = next(iter(shares))
    assert f"land cover: {first} {100 * shares[first]['share']:.1f} %" in said


def test_land_cover_of_many_pictures_and_of_one_without_a_folder(
    cover: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raster(tmp_path / "a.tif", 3)
    (tmp_path / "ask.jsonl").write_text(json.dumps({"id": "x", "image": "a.tif"}) + "\n")
    ask(cover, f"requests={tmp_path / 'ask.jsonl'}", f"out={tmp_path / 'many'}")
    assert "x/land_cover.tif" in rows(tmp_path / "many")[0]["files"] and (tmp_path / "many/x/land_cover.tif").is_file()
    capsys.readouterr()
    ask(cover, f"image={tmp_path / 'a.tif'}")
    said = capsys.readouterr().out
    assert "land cover: " in said and "tiles" not in said


def test_land_cover_that_is_seen_thinned_says_so(cover: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, place = rsmoe.load(cover, device="cpu"), raster(tmp_path / "a.tif", 3, size=(80, 100))
    real = Dates.overview
    monkeypatch.setattr(Dates, "overview", lambda self, **more: real(self, **({"pixels": 2000} | more)))
    reply = model.ask(place, beams=1, max_new=3)
    assert reply.land_cover.shape == reply.shown.valid.shape == (40, 50)
    assert any(note.endswith("land cover: 100 x 80 px are read thinned to 50 x 40") for note in reply.notes)
    with_tiles = model.ask(place, beams=1, max_new=3, tile=0)
    assert with_tiles.cover.kinds.shape == (80, 100)
    assert not any("land cover" in note for note in with_tiles.notes)


@pytest.mark.parametrize("word", ["region=[1,1,9,9]", "asset=visual", "dates=2"])
def test_what_goes_with_a_picture_is_not_dropped_beside_requests(word: str, tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text('{"image": "a.png"}\n')
    with pytest.raises(SystemExit, match=rf"error: {word.partition('=')[0]}= goes with image=, and requests= is given"):
        rsmoe.predict.cli([f"requests={tmp_path / 'requests.jsonl'}", word, f"out={tmp_path / 'out'}"])
