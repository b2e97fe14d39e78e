"""Archives in tar files and behind STAC items: what a tile knows, what is embedded anew, and what is refused."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.warp
from PIL import Image
from support.colour_archive import COLOURS, UTM, ColourEmbedder, found, indexed, paint, raster, refused
from support.servers import serve
from support.shard_data import Listed, sample, shards_of

from rsmoe.archive.listing import listed, picture_at
from rsmoe.archive.tile_store import TileStore
from rsmoe.commands import index, search
from rsmoe.geo.georeference import Georeference

__all__ = ["serve"]


def plain(colour: str, size: tuple[int, int] = (24, 30)) -> np.ndarray:
    return np.full((*size, 3), COLOURS[colour], np.uint8)


def tar(path: Path, **members: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def png(colour: str) -> bytes:
    target = io.BytesIO()
    Image.fromarray(plain(colour)).save(target, "PNG")
    return target.getvalue()


def tif(folder: Path, pixels: np.ndarray, **more: Any) -> bytes:
    return raster(folder / "made.tif", pixels, **more).read_bytes()


def scene() -> np.ndarray:
    """64 x 96 px, green, its lower right corner blue."""
    pixels = plain("green", (64, 96))
    pixels[32:, 64:] = COLOURS["blue"]
    return pixels


def corner(store: Path) -> Any:
    return found(store, "blue")[0].tile


def expected_box() -> tuple[float, ...]:
    return rasterio.warp.transform_bounds("EPSG:32632", "EPSG:4326", 5e5 + 640, 5e6 - 640, 5e5 + 960, 5e6 - 320)


@pytest.fixture
def webdataset(tmp_path: Path) -> Path:
    """Two tar files: a red and a white picture with texts beside them; a GeoTIFF."""
    tar(tmp_path / "shards/a.tar", **{
        "x/red_2019-05-04.png": png("red"), "x/red_2019-05-04.txt": b"red", "white.PNG": png("white"),
        "._white.png": b"macOS",
    })  # fmt: skip
    tar(tmp_path / "shards/b.tar", **{"scene_20200830.tif": tif(tmp_path, scene()), "scene_20200830.json": b"{}"})
    (tmp_path / "made.tif").unlink()
    return tmp_path / "shards"


def test_tar_files_are_searched_as_files_are(
    embedder: ColourEmbedder, webdataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(webdataset / "below/green.jpg", "green")
    store, out = tmp_path / "store", tmp_path / "found"
    indexed(webdataset, store)
    assert "4 pictures embedded, 9 tiles" in capsys.readouterr().out
    search.cli(["blue", f"store={store}", "limit=9", f"out={out}"])
    best = json.loads((out / "hits.geojson").read_text())["features"][0]["properties"]
    assert best["source"] == f"{webdataset}/b.tar/scene_20200830.tif" and best["window"] == [64, 32, 32, 32]
    assert best["date"] == "2020-08-30" and best["gsd_m"] == pytest.approx(10, rel=0.01)
    np.testing.assert_allclose(corner(store).box, expected_box(), atol=1e-6)
    red = found(store, "red")[0].tile.source
    assert (red.path, red.day) == (f"{webdataset}/a.tar/x/red_2019-05-04.png", "2019-05-04")
    assert sorted(Path(path).name for path in TileStore.open(store).paths()) == [
        "green.jpg", "red_2019-05-04.png", "scene_20200830.tif", "white.PNG",
    ]  # fmt: skip
    file = picture_at(red.path).local(tmp_path)
    assert isinstance(file, Path) and np.array_equal(np.asarray(Image.open(file)), plain("red"))


def test_a_tar_file_that_changed_is_embedded_anew(
    embedder: ColourEmbedder, webdataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    indexed(Path(f"{webdataset}/*.tar"), store)
    embedder.seen.clear()
    indexed(webdataset, store)
    assert embedder.seen == [] and "3 unchanged" in capsys.readouterr().out
    tar(webdataset / "a.tar", **{"x/red_2019-05-04.png": png("blue"), "new.png": png("red")})
    indexed(webdataset, store)
    said = capsys.readouterr().out
    assert sum(embedder.seen) == 2 and "1 gone" in said and "1 unchanged" in said
    assert found(store, "red")[0].tile.source.path.endswith("a.tar/new.png")
    (webdataset / "b.tar").unlink()
    indexed(webdataset, store)
    assert len(TileStore.open(store)) == 2


@pytest.mark.parametrize("stop", [1, 4])
def test_a_job_on_tar_files_goes_on_where_it_was_stopped(
    stop: int, embedder: ColourEmbedder, webdataset: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    embedder.stop_after = stop
    with pytest.raises(SystemExit) as stopped:
        indexed(webdataset, store, "batch_size=2")
    before = sum(embedder.seen)
    assert stopped.value.code == 130 and 0 < before < 8 and len(TileStore.open(store)) == before
    embedder.stop_after = 10**9
    indexed(webdataset, store)
    assert sum(embedder.seen) == 8 == len(TileStore.open(store))


@pytest.mark.parametrize("pixels", ["encoded", "raw"])
def test_shards_of_the_library_give_their_pictures_alone(pixels: str, embedder: ColourEmbedder, tmp_path: Path) -> None:
    """Neither masks nor a second sample of a view are pictures; a place is in the shard, not in the picture."""
    place = Georeference("EPSG:32632", UTM, 96, 64)
    image = paint(tmp_path / "red.png", "red")

    samples = [
        sample("scene", scene(), georeference=place, mask=np.ones((64, 96), bool), task="mask"),
        sample("..", image),
        sample("red 2", image),
        sample("dates", plain("green"), plain("white"), task="change_caption"),
    ]
    shards_of(Listed(samples), tmp_path / "shards", pixels=pixels)
    indexed(tmp_path / "shards", tmp_path / "store")
    names = [path.partition(".tar/")[2] for path in TileStore.open(tmp_path / "store").paths()]
    assert sorted(names) == ["..", "dates at 0", "dates at 1", "scene"]
    assert corner(tmp_path / "store").window == (64, 32, 32, 32)
    np.testing.assert_allclose(corner(tmp_path / "store").box, expected_box(), atol=1e-6)


def items(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(rows)}))
    return path


def item(id: str, *, href: str, day: str = "2021-03-04T10:11:12Z", bbox: Any = (9, 45, 10, 46), **more: Any) -> Any:
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": id, "bbox": list(bbox), "geometry": None,
        "properties": {"datetime": day},
        "assets": {
            "visual": {"href": href, "type": "image/tiff; application=geotiff", "roles": ["data"]},
            "thumbnail": {"href": "small.png", "type": "image/png", "roles": ["thumbnail"]},
            "metadata": {"href": "m.xml", "type": "application/xml"},
        } | more,
    }  # fmt: skip


def test_items_say_where_and_when(embedder: ColourEmbedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raster(tmp_path / "my scene_20200830.tif", scene())
    Image.fromarray(plain("red", (20, 40))).save(tmp_path / "chip.png")
    path = items(
        tmp_path / "items.json",
        item("S2A", href="./my%20scene_20200830.tif"),
        item("chip", href="chip.png", day="2019-01-02T00:00:00Z", bbox=(9, 45, 0, 10, 46, 100)),
    )
    store = tmp_path / "store"
    indexed(path, store)
    assert "2 pictures embedded" in capsys.readouterr().out
    tile = corner(store)
    assert (tile.source.path, tile.source.day) == (f"{path}/S2A", "2021-03-04")
    np.testing.assert_allclose(tile.box, expected_box(), atol=1e-6)  # the file's own grid, cut to the tile
    chip = {hit.tile.window: hit.tile for hit in found(store, "red", limit=2)}
    np.testing.assert_allclose(chip[0, 0, 32, 20].box, (9, 45, 9.8, 46), atol=1e-6)
    np.testing.assert_allclose(chip[8, 0, 32, 20].box, (9.2, 45, 10, 46), atol=1e-6)
    out = tmp_path / "found"
    search.cli(["red", f"store={store}", "bbox=[9,45,9.1,46]", "dates=2019", f"out={out}"])
    (hit,) = json.loads((out / "hits.geojson").read_text())["features"]
    assert hit["properties"]["id"] == f"{path}/chip#0,0,32,20" and hit["properties"]["date"] == "2019-01-02"
    assert np.asarray(Image.open(out / "hits.png")).std() > 0

    embedder.seen.clear()
    os.utime(path, ns=(1, 1))
    indexed(path, store)
    assert embedder.seen == []  # neither an item nor a file has changed
    items(path, item("S2A", href="my scene_20200830.tif", day="2022-01-01T00:00:00Z"))
    indexed(path, store)
    assert sum(embedder.seen) == 6 and corner(store).source.day == "2022-01-01" and len(TileStore.open(store)) == 6


def test_an_asset_at_an_address(
    embedder: ColourEmbedder, tmp_path: Path, serve: Callable[..., tuple[str, Any]]
) -> None:
    (tmp_path / "web").mkdir()
    raster(tmp_path / "web/scene.tif", scene())
    address, _ = serve(tmp_path / "web")
    path = items(tmp_path / "items.json", item("far", href=f"{address}/scene.tif"))
    indexed(path, tmp_path / "store")
    np.testing.assert_allclose(corner(tmp_path / "store").box, expected_box(), atol=1e-6)
    assert corner(tmp_path / "store").source.day == "2021-03-04"
    before = sum(embedder.seen)
    indexed(path, tmp_path / "store")
    assert sum(embedder.seen) == before
    items(path, item("far", href=f"{address}/nosuch.tif"))
    assert "1 of 1 pictures are not in the store" in refused(
        index, f"images={path}", f"out={tmp_path / 'store'}", "tile=32", "overlap=0"
    )


def test_items_of_several_pictures_need_a_choice(embedder: ColourEmbedder, tmp_path: Path) -> None:
    raster(tmp_path / "a.tif", scene())
    bands = {name: {"href": f"{name}.tif", "type": "image/tiff"} for name in ("B02", "B03")}
    row = item("S2A", href="a.tif", **bands)
    assert listed(str(items(tmp_path / "items.json", row)))[f"{tmp_path}/items.json/S2A"].content == tmp_path / "a.tif"
    del row["assets"]["visual"]
    path = items(tmp_path / "items.json", row)
    assert "choose one of its assets, asset=...: B02, B03" in refused(index, f"images={path}", "out=x")
    assert listed(str(path), asset="B03")[f"{path}/S2A"].content == tmp_path / "B03.tif"


BAD: dict[str, Any] = {
    "holds no STAC items": {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None}]},
    "bbox=[1, 2, 3] is no box": item("a", href="a.tif", bbox=(1, 2, 3)),
    "datetime 'last May' is no date": item("a", href="a.tif", day="last May"),
    "its asset has no href": item("a", href=""),
    "several items have one id": {"features": [item("a", href="a.tif"), item("a", href="b.tif")]},
    "is not read: expected a local path": item("a", href="pipe:rm"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_items_are_one_line(message: str, embedder: ColourEmbedder, tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text(json.dumps(BAD[message]))
    assert message in refused(index, f"images={tmp_path}/items.json", f"out={tmp_path / 'store'}")
    assert not (tmp_path / "store").exists()


def test_bad_tar_files_are_one_line(embedder: ColourEmbedder, tmp_path: Path) -> None:
    out = f"out={tmp_path / 'store'}"
    tar(tmp_path / "texts.tar", **{"a.txt": b"no picture"})
    assert "texts.tar holds no picture" in refused(index, f"images={tmp_path}/texts.tar", out)
    (tmp_path / "cut.tar").write_bytes(tar(tmp_path / "whole.tar", **{"a.png": png("red")}).read_bytes()[:700])
    assert "cut.tar is not a tar file, or is damaged" in refused(index, f"images={tmp_path}/cut.tar", out)
    assert "no such file" in refused(index, f"images={tmp_path}/*.geojson", out)
    tar(tmp_path / "bad.tar", **{"a.png": png("red")[:40], "b.png": png("red")})
    assert "1 of 2 pictures are not in the store" in refused(index, f"images={tmp_path}/bad.tar", out)
    assert [Path(path).name for path in TileStore.open(tmp_path / "store").paths()] == ["b.png"]
