"""Scenes of a STAC catalogue, asked by the command: one line each, whatever is wrong with one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from support.checkpoints import CALM, tiny_run

import rsmoe.predict
from rsmoe.errors import UserError
from rsmoe.evaluation.request_list import list_requests

SAID = {"type": "image/tiff; application=geotiff", "roles": ["data"]}

COVER = ("maps=[land_cover]", "maps.land_cover.classes=[a,b]", "maps.land_cover.channels=8", "maps.land_cover.shown=2")


def scene(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=48, height=40, count=3, dtype="uint8", crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), photometric="RGB",
    ) as file:  # fmt: skip
        file.write(np.random.default_rng(seed).integers(1, 255, (3, 40, 48), dtype=np.uint8))
    return path


def item(name: str, href: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None,
        "properties": {"datetime": "2021-03-04T10:11:12Z"}, "assets": {"visual": {"href": href, **SAID}}, **more,
    }  # fmt: skip


def catalogue(folder: Path) -> Path:
    """Two collections: one good scene in each, one without its file, one without an asset, one link to nothing."""
    scene(folder / "north/A/a b.tif", 1)
    scene(folder / "south/c.tif", 2)
    written: dict[str, Any] = {
        "catalog.json": {"type": "Catalog", "id": "all", "links": [
            {"rel": "self", "href": "catalog.json"}, {"rel": "child", "href": "./north/collection.json"},
            {"rel": "child", "href": "south.json"}, {"rel": "child", "href": "catalog.json"},
        ]},
        "north/collection.json": {"type": "Collection", "id": "north", "links": [
            {"rel": "root", "href": "../catalog.json"}, {"rel": "item", "href": "A/A.json"},
            {"rel": "item", "href": "gone.json"}, {"rel": "item", "href": "https://example.com/far.json"},
        ]},
        "north/A/A.json": item("A", "a%20b.tif"),
        "south.json": {"type": "FeatureCollection", "features": [
            item("no file", "south/nosuch.tif"), item("C", "south/c.tif"), item("bare", "x") | {"assets": {}},
        ]},
    }  # fmt: skip
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content))
    return folder / "catalog.json"


def test_a_catalogue_is_a_request_an_item(tmp_path: Path) -> None:
    path = catalogue(tmp_path)
    asked = {request.id: request for request in list_requests(str(path), dates=None, instruction="x")}
    assert list(asked) == ["A", "gone", "collection", "no file", "C", "bare"]
    assert asked["A"].pictures == (str(tmp_path / "north/A/a b.tif"),)
    assert asked["A"].about == {"item": "A", "datetime": "2021-03-04T10:11:12Z", "asset": "visual"}
    refused = {name: request.refused for name, request in asked.items() if request.refused}
    assert list(refused) == ["gone", "collection", "bare"]
    assert "choose one of its assets" in refused["bare"] and "download the catalogue" in refused["collection"]
    for words, said in (("dates=2", "a request each"), ("asset", "no json of them")):
        with pytest.raises(UserError, match=said):
            if words == "asset":
                list_requests(str(tmp_path / "south"), dates=None, instruction=None, asset="visual")
            else:
                list_requests(str(path), dates=2, instruction=None)
    (tmp_path / "empty.json").write_text('{"type": "Catalog", "links": []}')
    with pytest.raises(UserError, match="links to none"):
        list_requests(str(tmp_path / "empty.json"), dates=None, instruction=None)


def test_the_command_goes_on_and_keeps_errors_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny_run(tmp_path / "run", *CALM, steps=1)
    path, out = catalogue(tmp_path / "stac"), tmp_path / "out"
    words = [f"checkpoint={run}", f"image={path}", "instruction=Segment every ship.", f"out={out}", "max_new=4"]
    for _ in range(2):
        with pytest.raises(SystemExit, match="4 of 6 requests have no answer, the first: gone: "):
            rsmoe.predict.cli(words)
        said = capsys.readouterr().out
        rows = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
        assert [row["id"] for row in rows] == ["A", "gone", "collection", "no file", "C", "bare"]
    assert "2 of 6 requests have their answer" in said
    good = [row for row in rows if row["error"] is None]
    assert [(row["item"], row["datetime"], row["asset"]) for row in good] == [
        (name, "2021-03-04T10:11:12Z", "visual") for name in ("A", "C")
    ]
    errors = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert {row["id"] for row in errors} == {"gone", "collection", "no file", "bare"}
    assert all(row["error"] and row["item"] for row in errors)
    prints = json.loads((out / "answers.geojson").read_text())["features"]
    assert [feature["properties"]["item"] for feature in prints] == ["A", "C"]

    scene(tmp_path / "stac/south/nosuch.tif", 3)
    for gone in ("gone.json", "https://example.com/far.json"):
        text = (tmp_path / "stac/north/collection.json").read_text()
        (tmp_path / "stac/north/collection.json").write_text(text.replace(gone, "A/A.json"))
    content = json.loads((tmp_path / "stac/south.json").read_text())
    content["features"].pop()
    (tmp_path / "stac/south.json").write_text(json.dumps(content))
    rsmoe.predict.cli(words)
    rows = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert {row["id"] for row in rows if row["error"] is None} == {"A", "no file", "C"}


def test_what_lies_on_a_scene_says_which_it_is(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run", *CALM, *COVER, steps=1)
    scene(tmp_path / "a.tif", 1)
    (tmp_path / "item.json").write_text(json.dumps(item("A", "a.tif")))
    out = tmp_path / "out"
    rsmoe.predict.cli([f"checkpoint={run}", f"image={tmp_path / 'item.json'}", f"out={out}", "max_new=4"])
    found = json.loads((out / "A/land_cover_crs.geojson").read_text())["features"]
    assert found and all(f["properties"]["item"] == "A" and f["properties"]["asset"] == "visual" for f in found)
    assert not (out / "errors.jsonl").exists()
