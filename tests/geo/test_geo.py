"""Rasters: georeference, bands, nodata, stretches, and dates on different grids."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from rsmoe.errors import UserError
from rsmoe.geo import Georeference, RasterSource, Stretch, align, open_raster
from rsmoe.geo.georeference import project

needs_data = pytest.mark.skipif("RSMOE_DATA" not in os.environ, reason="RSMOE_DATA is not set")
UTM17 = Georeference("EPSG:32617", (0.5, 0, 404000.0, 0, -0.5, 3285000.0), 60, 40)


def geotiff(name: str) -> Path:
    return Path(os.environ["RSMOE_DATA"]) / "geotiff" / name


def write(path: Path, pixels: np.ndarray, grid: Georeference | None = UTM17, **more: Any) -> Path:
    """(H, W, C) pixels as a GeoTIFF; ``descriptions``, ``colorinterp``, ``scales`` ... are set on the file."""
    profile = {key: more.pop(key) for key in ("nodata",) if key in more}
    if grid is not None:
        profile |= {"crs": grid.crs, "transform": Affine(*grid.transform)}
    height, width, count = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file without a place on the earth is wanted here
        file = rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=count, dtype=pixels.dtype, **profile
        )
    with file:
        file.write(np.moveaxis(pixels, -1, 0))
        file.update_tags(**more.pop("tags", {}))
        for name, value in more.items():
            setattr(file, name, value)
    return path


def landscape(grid: Georeference, crs: str = "EPSG:32617") -> np.ndarray:
    """(H, W, 2) uint8 that is a smooth function of the place, sampled in the middle of each pixel of any grid."""
    rows, columns = np.mgrid[: grid.height, : grid.width] + 0.5
    points = grid.to_map(np.stack([columns.ravel(), rows.ravel()], axis=1))
    points = points if grid.crs == crs else project(points, grid.crs, crs)
    x, y = (points - (404000.0, 3285000.0)).T
    first = 128 + 60 * np.sin(x / 3.1) * np.cos(y / 4.3) + 50 * np.sin((x + 2 * y) / 7.7)
    second = 128 + 100 * np.cos((x - y) / 5.9)
    return np.stack([first, second], axis=1).reshape(grid.height, grid.width, 2).round().clip(1, 255).astype(np.uint8)


def shift_between(a: np.ndarray, b: np.ndarray) -> float:
    """Pixels by which b is displaced against a, by least squares on the gradient of a."""
    a, b = a[..., 0].astype(float), b[..., 0].astype(float)
    down, right = np.gradient(a)
    inside = np.s_[3:-3, 3:-3]
    slopes = np.stack([right[inside].ravel(), down[inside].ravel()], axis=1)
    shift, *_ = np.linalg.lstsq(slopes, (b - a)[inside].ravel(), rcond=None)
    return float(np.hypot(*shift))


# --- georeference ---


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=1, max_size=5), st.floats(0, 3))
def test_pixels_to_the_map_and_back(points: list[tuple[float, float]], turn: float) -> None:
    cos, sin = np.cos(turn), np.sin(turn)
    grid = replace(UTM17, transform=(0.5 * cos, -0.7 * sin, 4e5, 0.5 * sin, 0.7 * cos, 3e6))
    np.testing.assert_allclose(grid.to_pixel(grid.to_map(np.array(points))), points, atol=1e-6)


def test_the_corner_of_the_first_pixel_is_the_origin() -> None:
    np.testing.assert_allclose(UTM17.to_map([[0, 0], [2, 4]]), [[404000, 3285000], [404001, 3284998]])
    assert UTM17.bounds == (404000, 3284980, 404030, 3285000)
    lonlat = UTM17.to_lonlat([[0, 0]])
    assert -82 < lonlat[0, 0] < -81.9 and 29.6 < lonlat[0, 1] < 29.8  # Florida, longitude first


@pytest.mark.parametrize(
    "crs, transform, expected",
    [
        ("EPSG:32617", (0.5, 0, 404000, 0, -0.5, 3285000), 0.5),
        ("EPSG:4326", (1e-4, 0, 10, 0, -1e-4, 0), 11.1),  # a degree on the equator: 111.32 km by 110.57 km
        ("EPSG:4326", (1e-4, 0, 10, 0, -1e-4, 60), 7.88),  # half as wide at 60 degrees
        ("EPSG:3857", (10, 0, 1e6, 0, -10, 8399738), 5.02),  # Web Mercator at 60 degrees, on the ellipsoid
        ("EPSG:2236", (3.28084, 0, 600000, 0, -3.28084, 600000), 1.0),  # Florida in feet
    ],
)
def test_gsd_is_metres_on_the_ground(crs: str, transform: tuple[float, ...], expected: float) -> None:
    grid = Georeference(crs, transform, 100, 100)  # type: ignore[arg-type]
    assert grid.gsd_m == pytest.approx(expected, rel=5e-3)
    assert grid.resized(50, 50).gsd_m == pytest.approx(2 * grid.gsd_m, rel=1e-4)


def test_windows_and_other_sizes_keep_the_ground() -> None:
    window = UTM17.subwindow(10, 5, 20, 30)
    np.testing.assert_allclose(window.to_map([[1, 2]]), UTM17.to_map([[11, 7]]))
    assert (window.width, window.height) == (20, 30)
    np.testing.assert_allclose(UTM17.resized(120, 10).bounds, UTM17.bounds)
    assert pickle.loads(pickle.dumps(UTM17)) == UTM17


def test_a_bad_georeference_is_refused() -> None:
    with pytest.raises(UserError, match="with an inverse"):
        Georeference("EPSG:4326", (1, 0, 0, 1, 0, 0), 2, 2)
    with pytest.raises(UserError, match="nonsense"):
        _ = Georeference("nonsense", (1, 0, 0, 0, 1, 0), 2, 2).gsd_m


# --- files ---


def test_what_a_file_says(tmp_path: Path) -> None:
    tags = {"TIFFTAG_DATETIME": "2019:07:04 10:11:12"}
    path = write(tmp_path / "a.tif", landscape(UTM17), descriptions=("B04", "B08"), tags=tags, nodata=0)
    info = open_raster(path)
    assert (info.width, info.height, info.dtype, info.nodata) == (60, 40, "uint8", 0)
    assert [band.name for band in info.bands] == ["B04", "B08"]
    assert info.timestamp == datetime(2019, 7, 4, 10, 11, 12) and info.georeference == UTM17
    named = open_raster(path, names=("red", "nir"))
    assert [band.wavelength_nm for band in named.bands] == [660, 840]


def test_dates_from_a_name_go_first_and_are_declared(tmp_path: Path) -> None:
    path = write(tmp_path / "S2_20210305.tif", landscape(UTM17), tags={"TIFFTAG_DATETIME": "2024:01:01 00:00:00"})
    pattern = r"_(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
    assert open_raster(path, date_pattern=pattern).timestamp == datetime(2021, 3, 5)
    with pytest.raises(UserError, match="finds no group 'year'"):
        open_raster(path, date_pattern="S3_(?P<year>.)")
    with pytest.raises(UserError, match="makes no date"):
        open_raster(path, date_pattern=r"_(?P<year>\d{4})(?P<month>0)")
    empty = write(tmp_path / "b.tif", landscape(UTM17), tags={"TIFFTAG_DATETIME": "0000:00:00 00:00:00"})
    assert open_raster(empty).timestamp is None


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no raster file"):
        open_raster(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(UserError, match="not a raster"):
        open_raster(tmp_path / "text.tif")
    source = write(tmp_path / "a.tif", landscape(UTM17))
    virtual = tmp_path / "b.vrt"  # would read any file it names
    virtual.write_text(
        '<VRTDataset rasterXSize="60" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{source}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(UserError, match="not a raster"):
        open_raster(virtual)
    large = write(tmp_path / "c.tif", np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    large.write_bytes(large.read_bytes()[:20000])
    with pytest.raises(UserError, match="damaged|not a raster"):
        RasterSource(path=large).read()
    with pytest.raises(UserError, match="complex64"):
        open_raster(write(tmp_path / "d.tif", np.ones((4, 4, 1), np.complex64)))


def test_bands_by_number_name_and_wavelength(tmp_path: Path) -> None:
    pixels = np.zeros((8, 9, 12), np.uint8) + np.arange(1, 13, dtype=np.uint8)
    path = write(tmp_path / "a.tif", pixels)

    def read(**more: Any) -> list[int]:
        return RasterSource(path=path, **more).read()[0, 0].tolist()

    assert read() == list(range(1, 13)) and read(bands=(4, 2)) == [4, 2]
    assert read(names="sentinel2_l2a", bands=("b04", "B8A")) == [4, 9]
    assert read(names="sentinel2_l2a", wavelengths_nm=(660, 560, 490)) == [4, 3, 2]
    assert RasterSource(path=path).read().shape == (8, 9, 12)
    with pytest.raises(UserError, match="no band 'B10'.*4 'B04'"):
        read(names="sentinel2_l2a", bands=("B10",))
    with pytest.raises(UserError, match="no band near 10900 nm"):
        read(names="sentinel2_l2a", wavelengths_nm=(10900,))
    with pytest.raises(UserError, match="does not say its wavelengths"):
        read(wavelengths_nm=(660,))
    with pytest.raises(UserError, match="7 different bands.*has 12"):
        read(names="landsat_oli")
    with pytest.raises(UserError, match="Did you mean 'naip'"):
        read(names="naipp")
    with pytest.raises(UserError, match="not by both"):
        read(bands=(1,), wavelengths_nm=(1,))


def test_windows_carry_their_georeference(tmp_path: Path) -> None:
    pixels = landscape(UTM17)
    path = write(tmp_path / "a.tif", pixels)
    source = RasterSource(path=path, window=(7, 3, 20, 10))
    assert (source.read() == pixels[3:13, 7:27]).all()
    assert source.georeference == UTM17.subwindow(7, 3, 20, 10)
    assert source.key == RasterSource(path=str(path), window=[7, 3, 20, 10]).key  # type: ignore[arg-type]
    assert source.key != RasterSource(path=path).key and pickle.loads(pickle.dumps(source)) == source
    with pytest.raises(UserError, match=r"not inside a.tif, which is 60 x 40"):
        RasterSource(path=path, window=(50, 0, 20, 10)).read()


def test_no_data_is_a_hole_in_all_bands(tmp_path: Path) -> None:
    pixels = np.full((6, 6, 3), 9, np.uint8)
    pixels[0] = 0
    pixels[1, :, 0] = 0  # dark in one band
    source = RasterSource(path=write(tmp_path / "a.tif", pixels, nodata=0), bands=(1,))
    assert not source.valid()[0].any() and source.valid()[1:].all()
    undeclared = write(tmp_path / "b.tif", pixels)
    assert RasterSource(path=undeclared).valid().all()
    assert not RasterSource(path=undeclared, nodata=0).valid()[0].any()
    assert RasterSource(path=undeclared, nodata=0).valid()[1:].all()


def test_alpha_and_nan_are_masks_and_no_bands(tmp_path: Path) -> None:
    pixels = np.full((6, 6, 4), 200, np.uint8)
    pixels[2:4, :, 3] = 0
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    source = RasterSource(path=write(tmp_path / "a.tif", pixels, colorinterp=colours))
    picture = source.read()
    assert picture.shape == (6, 6, 3) and not picture[2:4].any() and (picture[4:] == 200).all()
    assert (source.valid() == (pixels[..., 3] > 0)).all()
    floats = np.full((6, 6, 2), 0.1503, np.float32)
    floats[0, 0, 1] = np.nan
    lone = RasterSource(path=write(tmp_path / "b.tif", floats), stretch="reflectance")
    assert not lone.valid()[0, 0] and lone.valid().sum() == 35
    assert (lone.read()[0, 0] == 0).all() and (lone.read()[1] == 128).all()


def test_stretches_of_reflectance(tmp_path: Path) -> None:
    pixels = np.array([[[0], [1503], [3000], [9000]]], np.uint16)
    path = write(tmp_path / "a.tif", pixels)
    assert RasterSource(path=path, stretch="sentinel2").read().ravel().tolist() == [0, 128, 255, 255]
    later = write(tmp_path / "b.tif", pixels + 1000)
    assert RasterSource(path=later, stretch="sentinel2_baseline4").read().ravel().tolist() == [0, 128, 255, 255]
    carried = write(tmp_path / "c.tif", pixels + 1000, scales=(1e-4,), offsets=(-0.1,))
    assert RasterSource(path=carried, stretch="reflectance").read().ravel().tolist() == [0, 128, 255, 255]
    assert RasterSource(path=carried, stretch=Stretch(1000, 4000)).read().ravel().tolist() == [0, 128, 255, 255]
    landsat = write(tmp_path / "d.tif", np.array([7273, 12746, 18182], np.uint16).reshape(1, 3, 1))
    assert RasterSource(path=landsat, stretch="landsat_c2_l2").read().ravel().tolist() == [0, 128, 255]
    with pytest.raises(UserError, match="stores uint16.*stretch=.*landsat_c2_l2"):
        RasterSource(path=path).read()
    with pytest.raises(UserError, match="unknown stretch 'sentinel'"):
        RasterSource(path=path, stretch="sentinel")
    with pytest.raises(UserError, match="low < high"):
        Stretch(3, 3)
    with pytest.raises(UserError, match="ends for 2 bands, 1 are read"):
        RasterSource(path=path, stretch=Stretch((0, 0), (1, 1))).read()


def test_percentiles_are_of_the_raster_not_of_the_window(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(1, 101, dtype=np.uint16)[:, None, None] * 100, (1, 20, 1))
    ramp[0] = 60000
    path = write(tmp_path / "a.tif", ramp, nodata=60000)  # the hole does not count
    whole = RasterSource(path=path, stretch="percentile").read()
    window = RasterSource(path=path, stretch="percentile", window=(0, 40, 5, 10)).read()
    assert (window == whole[40:50, :5]).all()
    assert whole[1, 0, 0] == 0 and whole[-1, 0, 0] == 255 and abs(int(whole[50, 0, 0]) - 128) <= 2


# --- alignment ---


@pytest.mark.parametrize(
    "crs, transform",
    [
        ("EPSG:32617", (0.5, 0, 404001.0, 0, -0.5, 3285000.5)),  # a metre and a row, as NAIP dates differ
        ("EPSG:32617", (0.6, 0, 404000.3, 0, -0.6, 3285000.2)),  # another resolution
        ("EPSG:32617", (0.13, 0, 404000.3, 0, -0.13, 3285000.2)),  # much finer
        ("EPSG:32616", None),  # the neighbouring zone: turned by a degree or two
        ("EPSG:4326", None),
    ],
)
def test_dates_on_other_grids_come_out_aligned(
    tmp_path: Path, crs: str, transform: tuple[float, float, float, float, float, float] | None
) -> None:
    if transform is None:
        corner, right, down = project(UTM17.to_map([[5, 5], [6, 5], [5, 6]]), UTM17.crs, crs)
        transform = (right[0] - corner[0], 0.0, corner[0], 0.0, down[1] - corner[1], corner[1])
    size = (300, 220) if transform[0] == 0.13 else (60, 41)
    other = Georeference(crs, transform, *size)
    first = write(tmp_path / "a.tif", landscape(UTM17), nodata=0)
    second = write(tmp_path / "b.tif", landscape(other), other, nodata=0)
    a, b = align(RasterSource(path=first), RasterSource(path=second))
    x, y = a.read(), b.read()
    assert x.shape == y.shape == (a.grid.height, a.grid.width, 2) and a.grid == b.grid == b.georeference
    left, top = UTM17.to_pixel(a.grid.to_map([[0, 0]]))[0]
    assert left == pytest.approx(round(left)) and top == pytest.approx(round(top))
    valid = a.valid()
    assert valid.mean() > 0.8 and (valid == b.valid()).all() and not x[~valid].any() and not y[~valid].any()
    kept = landscape(UTM17)[round(top) : round(top) + a.grid.height, round(left) : round(left) + a.grid.width]
    assert (x[valid] == kept[valid]).all()  # the first date is not resampled
    rows, columns = np.nonzero(valid)
    inside = np.s_[rows.min() + 3 : rows.max() - 2, columns.min() + 3 : columns.max() - 2]
    assert shift_between(x[inside], y[inside]) < 0.25
    assert np.abs(x[inside].astype(int) - y[inside]).mean() < 4


def test_without_alignment_the_test_above_would_fail() -> None:
    other = replace(UTM17, transform=(0.5, 0, 404001.0, 0, -0.5, 3285000.5))
    assert shift_between(landscape(UTM17), landscape(other)) > 0.9


def test_windows_and_holes_of_both_dates(tmp_path: Path) -> None:
    pixels = landscape(UTM17)
    holes = pixels.copy()
    holes[:, 30:34] = 0
    first = RasterSource(path=write(tmp_path / "a.tif", pixels, nodata=0), window=(10, 10, 40, 20))
    second = RasterSource(path=write(tmp_path / "b.tif", holes, nodata=0))
    a, b = align(first, second)
    assert a.grid == UTM17.subwindow(10, 10, 40, 20)
    expected = np.ones((20, 40), bool)
    expected[:, 20:24] = False
    assert (a.valid() == expected).all()
    assert not a.read()[:, 20:24].any() and (a.read() == b.read()).all() and a.key != b.key
    empty = RasterSource(path=write(tmp_path / "c.tif", np.zeros_like(pixels), nodata=0))
    with pytest.raises(UserError, match="nowhere do all of them have data"):
        align(first, empty)[0].valid()


def test_pairs_that_cannot_be_aligned(tmp_path: Path) -> None:
    a = RasterSource(path=write(tmp_path / "a.tif", landscape(UTM17)))
    far = replace(UTM17, transform=(0.5, 0, 404100.0, 0, -0.5, 3285000.0))
    with pytest.raises(UserError, match=r"no common area: a.tif covers longitude -81.99"):
        align(a, RasterSource(path=write(tmp_path / "b.tif", landscape(far), far)))
    with pytest.raises(UserError, match="no coordinate system"):
        align(a, RasterSource(path=write(tmp_path / "c.tif", landscape(UTM17), grid=None)))
    with pytest.raises(UserError, match="different numbers of bands"):
        align(a, replace(a, bands=(1,)))
    with pytest.raises(UserError, match="two dates or more"):
        align(a)


def test_swapped_dates_warn(tmp_path: Path) -> None:
    old, new = (
        RasterSource(path=write(tmp_path / f"{y}.tif", landscape(UTM17), tags={"TIFFTAG_DATETIME": f"{y}:06:01 0:0:0"}))
        for y in (2010, 2020)
    )
    with pytest.warns(UserWarning, match=r"2020.tif .* is younger. Swap them"):
        align(new, old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        align(old, new)


def test_percentiles_of_a_pair_are_common(tmp_path: Path) -> None:
    dark = landscape(UTM17).astype(np.uint16) * 10
    first = RasterSource(path=write(tmp_path / "a.tif", dark), stretch="percentile")
    second = RasterSource(path=write(tmp_path / "b.tif", dark * 2), stretch="percentile")
    a, b = align(first, second)
    assert b.read().mean() > 1.5 * a.read().mean()
    assert abs(second.read().mean() - first.read().mean()) < 2  # each its own would hide it


# --- real files ---


@needs_data
@pytest.mark.real_data
def test_real_files() -> None:
    neon = RasterSource(path=geotiff("neon_osbs/OSBS_029.tif"))
    assert neon.read().shape == (400, 400, 3) and neon.info.georeference is not None
    assert neon.info.georeference.gsd_m == pytest.approx(0.1, rel=1e-3)
    stars = RasterSource(path=geotiff("stars_landsat7/L7_ETMs.tif"), names="landsat_tm", wavelengths_nm=(660, 560, 485))
    assert stars.read().shape == (352, 349, 3) and stars.valid().all()
    assert stars.georeference is not None and stars.georeference.gsd_m == pytest.approx(28.5, rel=1e-3)
    border = RasterSource(path=geotiff("rasterio/RGB.byte.tif"))
    assert 0.6 < border.valid().mean() < 0.75 and not border.read()[~border.valid()].any()
    with Image.open(geotiff("rasterio/RGB.byte.tif")) as image:
        assert (np.array(image) == border.read()).all()


@needs_data
@pytest.mark.real_data
def test_a_real_pair_over_35_years() -> None:
    names = ("swir16", "nir", "red", "green")
    old, new = (
        RasterSource(path=geotiff(f"landsat_pucallpa/{y}.tif"), names=names, date_pattern=r"(?P<year>\d{4})")
        for y in (1985, 2020)
    )
    a, b = align(old, new)
    assert a.read().shape == b.read().shape == (377, 697, 4) and a.grid.gsd_m == pytest.approx(89.2, abs=0.1)
    assert (a.read() == old.read()).all() and (b.read() == new.read()).all()
    with pytest.warns(UserWarning, match="younger"):
        align(new, old)


def test_rasterio_is_imported_when_a_file_is_opened() -> None:
    code = "import sys, rsmoe.geo; assert 'rasterio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
