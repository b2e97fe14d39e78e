"""Rasters that lie nowhere or hardly: local and vertical systems, the antimeridian, odd grids, tiny sizes."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rich.console import Console
from support.replies import reply

from rsmoe.errors import UserError
from rsmoe.evaluation.change_report import ground, report_change
from rsmoe.geo import Georeference, RasterSource, align, open_raster
from rsmoe.geo.dates import read_dates
from rsmoe.geo.georeference import project
from rsmoe.geo.polygons import area, map_polygons
from rsmoe.geo.windows import DateWindows

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

LOCAL = 'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
ENGINEERING = 'ENGCRS["mine",EDATUM["peg"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


def write(
    path: Path, *, crs: str | None = "EPSG:32632", transform: Any = NORTH_UP, size: tuple[int, int] = (24, 30),
    seed: int = 0, bands: int = 3, dtype: str = "uint8", nodata: float | None = None, pixels: Any = None, **more: Any,
) -> Path:  # fmt: skip
    place: dict[str, Any] = {} if crs is None else {"crs": crs}
    place |= {} if transform is None else {"transform": rasterio.Affine(*transform)}
    if pixels is None:
        pixels = np.random.default_rng(seed).integers(1, 255, (bands, *size))
    place |= {"height": size[0], "width": size[1], "count": bands, "photometric": "MINISBLACK", **more}
    with rasterio.open(path, "w", driver="GTiff", dtype=dtype, nodata=nodata, **place) as file:
        file.write(np.broadcast_to(pixels, (bands, *size)).astype(dtype))
    return path


def pair(tmp_path: Path, **second: Any) -> list[Path]:
    first = {key: second[key] for key in ("crs", "transform", "size") if key in second}
    return [write(tmp_path / "a.tif", **first), write(tmp_path / "b.tif", seed=1, **second)]


def reported(paths: list[Path], out: Path | None) -> dict[str, Any]:
    dates = read_dates(paths, bands=3)
    kinds = np.zeros(dates.valid.shape, np.uint8)
    kinds[2:5, 3:7] = 1
    given = reply(dates, change=SimpleNamespace(kinds=kinds, tiles=1, tile_px=64))
    return report_change(given, [path.stem for path in paths], out, [], Console(quiet=True))


@pytest.mark.parametrize("crs", [LOCAL, ENGINEERING, "EPSG:5703", "EPSG:4978"])
def test_a_system_that_lies_nowhere_has_a_map_but_no_areas(crs: str, tmp_path: Path) -> None:
    paths = pair(tmp_path, crs=crs)
    told = reported(paths, tmp_path / "out")
    assert any(note.startswith("no areas: ") for note in told["notes"])
    assert told["kinds"]["change"] == {"pixels": 12, "area_m2": None}
    with rasterio.open(tmp_path / "out" / "change.tif") as file:
        assert tuple(file.transform)[:6] == NORTH_UP
    (feature,) = json.loads((tmp_path / "out" / "change_crs.geojson").read_text())["features"]
    assert not (tmp_path / "out" / "change.geojson").exists()  # it has no degrees
    assert feature["properties"] == {"class": 1, "name": "change", "pixels": 12}
    place = open_raster(paths[0]).georeference
    assert place is not None
    with pytest.raises(UserError, match="nowhere on the earth"):
        _ = place.gsd_m
    with pytest.raises(UserError):
        project(np.zeros((1, 2)), crs, "EPSG:4326")


def test_local_dates_are_laid_on_each_other_in_their_own_system(tmp_path: Path) -> None:
    a = write(tmp_path / "a.tif", crs=LOCAL)
    b = write(tmp_path / "b.tif", crs=LOCAL, transform=(5.0, 0, 500_000.0, 0, -5.0, 5_000_000.0), size=(48, 60))
    assert read_dates([a, b], bands=3).images[1].shape == (24, 30, 3)
    far = write(tmp_path / "far.tif", crs=LOCAL, transform=(10.0, 0, 900_000.0, 0, -10.0, 5_000_000.0))
    with pytest.raises(UserError, match=r"no common area: a.tif covers x 500000.00 to 500300.00.* of its own system"):
        read_dates([a, far], bands=3)
    utm = write(tmp_path / "utm.tif")
    for paths in ([a, utm], [utm, a]):
        with pytest.raises(UserError, match=r"cannot be laid on each other: .*gdalwarp -t_srs"):
            read_dates(paths, bands=3)


def test_another_system_of_another_part_of_the_world(tmp_path: Path) -> None:
    utm = write(tmp_path / "utm.tif")
    for crs, transform in (("EPSG:4326", (1e-4, 0, -60.0, 0, -1e-4, -30.0)), ("EPSG:3031", (10.0, 0, 0, 0, -10.0, 0))):
        other = write(tmp_path / "other.tif", crs=crs, transform=transform)
        with pytest.raises(UserError, match="no common area|cannot be laid on each other"):
            read_dates([utm, other], bands=3)


@pytest.mark.parametrize(
    "transform", [(math.nan, 0, 0, 0, 1, 0), (0, 0, 5, 0, 0, 5), (1, 2, 0, 2, 4, 0), (math.inf, 0, 0, 0, -1, 0), None]
)
def test_a_transform_that_places_nothing_is_no_place(transform: Any, tmp_path: Path) -> None:
    paths = pair(tmp_path, transform=transform)
    assert open_raster(paths[0]).georeference is None
    told = reported(paths, tmp_path / "out")
    assert told["kinds"]["change"]["area_m2"] is None and read_dates(paths, bands=3).georeference is None


def test_ground_control_points_are_named_with_the_remedy(tmp_path: Path) -> None:
    points = [GroundControlPoint(row=r, col=c, x=9 + c / 1e3, y=45 - r / 1e3) for r, c in ((0, 0), (0, 29), (23, 0))]
    plain = write(tmp_path / "gcps.tif", crs="EPSG:4326", transform=None, gcps=points)
    placed = write(tmp_path / "a.tif")
    assert open_raster(plain).georeference is None
    with pytest.raises(UserError, match="gcps.tif has ground control points.*gdalwarp gcps.tif"):
        read_dates([placed, plain], bands=3)
    assert read_dates([plain], bands=3).images[0].shape == (24, 30, 3)


@pytest.mark.parametrize(
    "transform",
    [(10.0, 0, 5e5, 0, 10.0, 5e6), (7.0, 7.0, 5e5, 7.0, -7.0, 5e6), (10.0, 3.0, 5e5, 0, -10.0, 5e6)],
    ids=["south up", "rotated", "sheared"],
)
def test_grids_that_are_not_north_up(transform: Any, tmp_path: Path) -> None:
    paths = pair(tmp_path, transform=transform)
    told = reported(paths, tmp_path / "out")
    pixel = abs(transform[0] * transform[4] - transform[1] * transform[3])
    assert told["kinds"]["change"]["area_m2"] == pytest.approx(12 * pixel, rel=2e-3)
    with rasterio.open(tmp_path / "out" / "change.tif") as file:
        assert tuple(file.transform)[:6] == pytest.approx(transform)
    turned = write(tmp_path / "north.tif", size=(60, 60), transform=(10.0, 0, 5e5 - 200, 0, -10.0, 5e6 + 300))
    dates = read_dates([turned, paths[0]], bands=3)
    assert dates.valid.any() and dates.images[0].shape == dates.images[1].shape


@pytest.mark.parametrize(
    ("crs", "transform", "gsd"),
    [
        ("EPSG:2263", (3.28084, 0, 1e6, 0, -3.28084, 2e5), 1.0),  # US survey feet
        ("EPSG:32618+5703", (10.0, 0, 5e5, 0, -10.0, 4e6), 10.0),  # with heights
        ("EPSG:4326", (1e-4, 0, 20.0, 0, -1e-4, 89.9), None),
        ("EPSG:3995", (100.0, 0, -1500.0, 0, -100.0, 1200.0), 100.0),  # over the pole
    ],
)
def test_sizes_on_the_ground(crs: str, transform: Any, gsd: float | None, tmp_path: Path) -> None:
    place = open_raster(write(tmp_path / "a.tif", crs=crs, transform=transform)).georeference
    assert place is not None
    known, why = ground(place)
    assert known is not None and not why
    assert known == pytest.approx(gsd, rel=0.05) if gsd else 0 < known < 11


def test_both_sides_of_the_antimeridian(tmp_path: Path) -> None:
    texture = np.random.default_rng(5).integers(1, 255, (3, 24, 30), dtype=np.uint8)
    east = write(tmp_path / "a.tif", crs="EPSG:4326", transform=(0.01, 0, 179.9, 0, -0.01, -16), pixels=texture)
    west = write(tmp_path / "b.tif", crs="EPSG:4326", transform=(0.01, 0, -180.1, 0, -0.01, -16), pixels=texture)
    with pytest.warns(UserWarning, match="same picture"):
        dates = read_dates([east, west], bands=3)
    np.testing.assert_array_equal(dates.images[0], dates.images[1])
    utm = write(tmp_path / "utm.tif", crs="EPSG:32760", transform=(500.0, 0, 8e5, 0, -500.0, 8.24e6), size=(80, 60))
    common = read_dates([east, utm], bands=3)
    assert common.valid.all() and common.images[1].shape[1] > 15  # some lie beyond 180 degrees


def test_windows_of_a_warped_date_join_without_a_seam(tmp_path: Path) -> None:
    """The same as in one piece, whether the second date is coarser, finer or in another system."""
    a = write(tmp_path / "a.tif", size=(90, 110))
    left, top = project(np.array([[499_900.0, 5_000_100.0]]), "EPSG:32632", "EPSG:32633")[0].tolist()
    others = {
        "finer": {"transform": (1.0, 0, 500_003.0, 0, -1.0, 4_999_998.0), "size": (700, 700)},
        "coarser": {"transform": (37.0, 0, 499_900.0, 0, -37.0, 5_000_100.0), "size": (40, 40)},
        "zone 33": {"crs": "EPSG:32633", "transform": (8.0, 0, left, 0, -8.0, top), "size": (200, 200)},
    }
    for name, other in others.items():
        b = write(tmp_path / "b.tif", seed=2, **other)
        dates = align(RasterSource(path=a), RasterSource(path=b))
        files = DateWindows(dates)
        height, width = files.shape
        images, valid = files.read(slice(None), slice(None))
        np.testing.assert_array_equal(images[1], dates[1].read())
        for rows in (slice(0, 7), slice(7, 40), slice(40, height)):
            for columns in (slice(0, width // 3), slice(width // 3, width)):
                part, known = files.read(rows, columns)
                np.testing.assert_array_equal(known, valid[rows, columns], err_msg=name)
                gap = np.abs(part[1].astype(int) - images[1][rows, columns])
                assert gap.max() <= 1, name  # `_TOLERANCE` of a pixel, and rounding


def test_a_source_much_finer_than_the_grid_is_warped_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = write(tmp_path / "a.tif")
    b = write(tmp_path / "b.tif", seed=3, transform=(1.0, 0, 5e5, 0, -1.0, 5e6), size=(240, 300))
    whole = read_dates([a, b], bands=3).images[1]
    monkeypatch.setattr(sys.modules["rsmoe.geo.align"], "_AT_ONCE", 4000)  # the package has a function of that name
    np.testing.assert_array_equal(read_dates([a, b], bands=3).images[1], whole)


def test_pairs_that_do_not_go_together_and_those_that_do(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    a = write(tmp_path / "a.tif")
    deep = write(tmp_path / "deep.tif", dtype="uint16", seed=1)
    four = write(tmp_path / "four.tif", bands=4)
    empty = write(tmp_path / "empty.tif", nodata=0, pixels=np.zeros((1, 1, 1)))
    corner = write(tmp_path / "corner.tif", seed=4, transform=(10.0, 0, 500_290.0, 0, -10.0, 4_999_770.0))
    with pytest.raises(UserError, match=r"deep.tif stores uint16.*raster.stretch="):
        read_dates([a, deep], bands=3)
    with pytest.raises(UserError, match=r"four.tif has .*raster.bands="):
        read_dates([a, four], bands=3)
    with pytest.raises(UserError, match="a.tif and empty.tif overlap, but nowhere do all of them have data"):
        read_dates([a, empty], bands=3)
    with pytest.raises(UserError, match="empty.tif: no pixel holds data"):
        read_dates([empty], bands=3)
    assert read_dates([a, corner], bands=3).images[1].shape == (1, 1, 3)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="are the same picture"):
        read_dates([a, a], bands=3)
    for size in ((1, 1), (1, 40_000), (40_000, 1)):
        thin = write(tmp_path / "thin.tif", size=size)
        assert read_dates([thin], bands=3).images[0].shape == (*size, 3)


def test_a_window_and_options_on_the_command_line(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    whole = read_dates([a, b], bands=3)
    part = read_dates([a, b], bands=3, options={"window": [4, 5, 10, 8]})
    np.testing.assert_array_equal(part.images[1], whole.images[1][5:13, 4:14])
    for window in ([0, 0, 31, 3], [-1, 0, 3, 3], [0, 0, 0, 3]):
        with pytest.raises(UserError, match=r"raster.window=.*30 x 24 pixels"):
            read_dates([a, b], bands=3, options={"window": window})
    for window in ([0, 0, 3], [0, 0, 2.5, 3], "all!"):
        with pytest.raises(UserError, match="raster.window=.*four whole numbers"):
            read_dates([a, b], bands=3, options={"window": window})
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"raster.window= is about rasters .*a.png is none"):
        read_dates([tmp_path / "a.png"], bands=3, options={"window": [0, 0, 1, 1]})


@pytest.mark.parametrize("seed", range(6))
def test_polygons_of_strips_are_those_of_the_whole_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for share in (0.3, 0.6, 0.9):
        height, width = rng.integers(1, 24, 2).tolist()
        kinds = np.where(rng.random((height, width)) < share, rng.integers(1, 3, (height, width)), 0).astype(np.uint8)
        kinds[rng.random((height, width)) < 0.05] = 255

        def found(pixels: int, kinds: np.ndarray = kinds) -> list[tuple[int, int, int, tuple[int, int]]]:
            rings = [(kind, own) for kind, own in map_polygons(kinds, skip=255, pixels=pixels)]
            return sorted((k, sum(map(area, r)), area(r[0]), min(map(tuple, r[0].tolist()))) for k, r in rings)

        assert found(1) == found(5 * width) == found(10**6)
        assert sum(pixels for _, pixels, *_ in found(1)) == ((kinds > 0) & (kinds < 255)).sum()


def test_what_gdal_refuses_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="PROJ does not know"):
        project(np.zeros((1, 2)), "nonsense", "EPSG:4326")
    damaged = write(tmp_path / "a.tif", size=(300, 300), tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="a.tif is truncated or damaged"):
        read_dates([damaged], bands=3)
    place = Georeference("EPSG:32632", NORTH_UP, 4, 4)
    assert ground(place)[0] == pytest.approx(10, rel=1e-2)
