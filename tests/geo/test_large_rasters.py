"""Pairs that are read in windows: the numbers of the whole picture, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.windows import Window
from rich.console import Console
from support.models import codecs, tiny_model
from support.replies import reply

from rsmoe.data.collate import Collate
from rsmoe.errors import UserError
from rsmoe.evaluation.change_report import changed_by_cell, count_kinds, report_change
from rsmoe.evaluation.map_tiles import map_tiles
from rsmoe.evaluation.watch import watched
from rsmoe.geo.dates import Dates, read_dates
from rsmoe.geo.strips import StripMap
from rsmoe.geo.windows import LazyDate

EXPERTS = "expert=[change,mask]"


@pytest.fixture(scope="module")
def model() -> Any:
    own = tiny_model("maps=[change]", "maps.change.kinds=2", "temporal.dropout=0.0", experts=EXPERTS)
    with torch.no_grad():
        own.maps["change"].logits.weight.mul_(6)
    return own


def look(*, match_levels: bool = False) -> Collate:
    codec, words = codecs(EXPERTS)
    return Collate(
        codec=codec, instruction_codec=words, image_size=32, mean=(0.5,) * 3, std=(0.25,) * 3, inference=True,
        match_levels=match_levels,
    )  # fmt: skip


def write(path: Path, side: int, *, shift: float = 0.0, seed: int = 0, hole: int = 0, block: int = 256) -> Path:
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    options |= {"tiled": True, "blockxsize": block, "blockysize": block, "compress": "deflate", "zlevel": 1}
    options |= {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 6e5 + shift, 0, -10, 5e6 - shift), "nodata": 0}
    with rasterio.open(path, "w", photometric="RGB", **options) as file:
        for top in range(0, side, 512):
            high = min(512, side - top)
            coarse = rng.integers(1, 255, (3, -(-high // 8), -(-side // 8)), dtype=np.uint8)
            rows = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :high, :side]
            rows[:, :, :hole] = 0
            file.write(rows, window=Window(0, top, side, high))
    return path


@pytest.mark.parametrize("shift", [0.0, 3.3])
@pytest.mark.parametrize("tile", [32, 50, 0])
def test_windows_say_what_the_whole_picture_says(
    shift: float, tile: int, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / "a.tif", 150, hole=20, block=16), write(tmp_path / "b.tif", 150, shift=shift, seed=1)]
    whole = read_dates(paths, bands=3)
    expected = map_tiles(model, look(match_levels=True), whole, name="change", tile_px=tile)
    assert isinstance(expected.kinds, np.ndarray) and len(np.unique(expected.kinds)) > 1
    monkeypatch.setattr("rsmoe.geo.dates.WHOLE_PIXELS", 100)
    monkeypatch.setattr("rsmoe.evaluation.map_tiles.WHOLE_PIXELS", 150 * 150 if tile == 0 else 3 * tile * tile)
    monkeypatch.setattr("rsmoe.evaluation.map_tiles._STRIP_BYTES", 12_000)
    parts = read_dates(paths, bands=3)
    assert isinstance(parts.images[0], LazyDate) and parts.images[0].shape == whole.images[0].shape
    for ours, theirs in zip((*parts.overview().images, parts.valid[:, :]), (*whole.images, whole.valid), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    found = map_tiles(model, look(match_levels=True), parts, name="change", tile_px=tile)
    assert isinstance(found.kinds, StripMap) and (found.tiles, found.tile_px) == (expected.tiles, expected.tile_px)
    np.testing.assert_array_equal(found.valid, whole.valid)
    differ = np.asarray(found.kinds) != expected.kinds
    assert differ.mean() <= 1e-3  # probabilities that are equal but for rounding
    assert changed_by_cell(count_kinds(found.kinds, found.valid)) == pytest.approx(
        changed_by_cell(count_kinds(found.kinds[:, :], whole.valid))
    )


def test_strips_are_mixed_as_the_whole_would_be(model: Any) -> None:
    """Against the plain sum over tiles of resized probabilities, as it is defined."""
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 255, (70, 45, 3), dtype=np.uint8) for _ in range(2))
    dates = Dates(images=images, valid=np.ones((70, 45), bool), georeference=None, notes=())
    found = map_tiles(model, look(), dates, name="change", tile_px=32)
    from rsmoe.evaluation.map_tiles import _DESCRIBE, _weights
    from rsmoe.geo.windows import tile_starts

    total = torch.zeros(3, 70, 45)
    for y in tile_starts(70, 32, overlap=0.25):
        for x in tile_starts(45, 32, overlap=0.25):
            tile = dates.cut(slice(y, y + 32), slice(x, x + 32))
            with torch.no_grad():
                logits = model.see(look()([(replace(_DESCRIBE, images=tile.images), 0)])).maps["change"].evidence.logits
            scores = torch.nn.functional.interpolate(logits, size=(32, 32), mode="bilinear")[0].softmax(0)
            total[:, y : y + 32, x : x + 32] += scores * torch.from_numpy(_weights(32, 32))
    assert (model.maps["change"].classify(total).numpy() != found.kinds).mean() <= 1e-3


def test_a_large_pair_takes_little_memory_and_is_written(model: Any, tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.tif", 3000), write(tmp_path / "b.tif", 3000, seed=1, shift=4.0)]
    tracemalloc.start()
    try:
        dates = read_dates(paths, bands=3)
        change = map_tiles(model, look(match_levels=True), dates, name="change", tile_px=1024)
        known = Dates(images=dates.images, valid=change.valid, georeference=dates.georeference, notes=())
        given = reply(known, change=change, image_size=32)
        told = report_change(given, ["a", "b"], tmp_path / "out", [], Console(quiet=True))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # the two pictures alone are 54 MB as bytes and 216 MB as the floats that are warped, the shares 108 MB
    assert peak < 270e6, f"{peak / 1e6:.0f} MB"
    assert isinstance(dates.images[0], LazyDate) and change.kinds.shape == dates.valid.shape == (2999, 2999)
    with rasterio.open(tmp_path / "out" / "change.tif") as file:
        assert file.overviews(1) and file.block_shapes == [(512, 512)] and file.colormap(1)
        kinds = file.read(1)
    np.testing.assert_array_equal(kinds, change.kinds)
    features = json.loads((tmp_path / "out" / "change.geojson").read_text())["features"]
    assert len(features) == told["polygons"]
    assert sum(f["properties"]["pixels"] for f in features) == (kinds > 0).sum()
    assert told["changed"] == pytest.approx(float((kinds > 0).mean()))


def test_a_scene_of_many_gigapixels_opens_at_once(tmp_path: Path) -> None:
    """Sparse: only what is read is there."""
    options: dict[str, Any] = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32632", "SPARSE_OK": True}
    for name, side in (("a", 10980), ("b", 10980)):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", width=side, height=side, tiled=True, photometric="RGB", compress="deflate",
            transform=rasterio.Affine(10, 0, 6e5, 0, -10, 5.5e6), **options,
        ) as file:  # fmt: skip
            file.write(np.full((3, 64, 64), 9 if name == "a" else 8, np.uint8), window=Window(0, 0, 64, 64))
    dates = read_dates([tmp_path / "a.tif", tmp_path / "b.tif"], bands=3)
    assert dates.images[0].shape == (10980, 10980, 3)
    assert dates.images[0][10:12, 10:13].tolist() == [[[9] * 3] * 3] * 2
    shown = dates.overview()
    assert shown.valid.size <= 2**22 and shown.georeference is not None
    assert shown.georeference.bounds == pytest.approx(dates.georeference.bounds)  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"raster.window="):
        read_dates([tmp_path / "a.tif"], bands=3, options={"window": [10_900, 0, 100, 100]})


def test_progress_is_a_line_now_and_then_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(record=True, force_terminal=False, width=100, quiet=False)
    times = iter(range(0, 1000, 10))
    monkeypatch.setattr("rsmoe.evaluation.watch.time.monotonic", lambda: float(next(times)))
    with watched("map of changes, tiles", 1000, console) as advance:
        for _ in range(4):
            advance(100)
    lines = console.export_text().splitlines()
    assert lines == [
        "map of changes, tiles: 200 of 1,000, about 1 min left",
        "map of changes, tiles: 400 of 1,000, about 1 min left",
    ]
