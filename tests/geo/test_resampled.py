"""Rasters that are seen at another ground sampling distance than their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from rsmoe.errors import UserError
from rsmoe.geo import dates as dates_module
from rsmoe.geo.dates import read_dates
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.resampled import at_gsd

UTM = (2.0, 0.0, 5e5, 0.0, -2.0, 6.5e6)
TURNED = (1.6, 1.2, 5e5, 1.2, -1.6, 6.5e6)
SOUTH_UP = (2.0, 0.0, 5e5, 0.0, 2.0, 6.5e6)
DEGREES = (2e-5, 0.0, 25.0, 0.0, -2e-5, 60.0)
"""At 60 degrees north: 1.1 m wide, 2.2 m high."""


def raster(path: Path, pixels: np.ndarray, transform: tuple[float, ...], crs: str | None = "EPSG:32635") -> Path:
    height, width, bands = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype="uint8", crs=crs, nodata=0,
        transform=Affine(*transform), photometric="RGB", tiled=True, blockxsize=128, blockysize=128,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, -1, 0))
    return path


def ground(height: int = 120, width: int = 160) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = 128 + 80 * np.sin(x / 23) * np.cos(y / 17)
    return np.stack([waves, 255 - waves, 64 + x / 2 + y / 8], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("transform", [UTM, TURNED, SOUTH_UP])
@pytest.mark.parametrize("gsd_m", [0.5, 1.7, 4.0, 6.0])
def test_the_same_ground_in_other_pixels(transform: tuple[float, ...], gsd_m: float, tmp_path: Path) -> None:
    pixels = ground()
    path = raster(tmp_path / "a.tif", pixels, transform)
    own, seen = read_dates([path], bands=3), read_dates([path], bands=3, options={"gsd_m": gsd_m})
    assert own.georeference is not None and seen.georeference is not None
    assert seen.valid.shape == (round(240 / gsd_m), round(320 / gsd_m)) and seen.valid.mean() > 0.95
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    np.testing.assert_allclose(
        seen.georeference.to_map(corners * (seen.georeference.width, seen.georeference.height)),
        own.georeference.to_map(corners * (160, 120)), atol=1e-3,
    )  # fmt: skip
    assert seen.georeference.gsd_m == pytest.approx(gsd_m, rel=0.01)
    height, width = seen.valid.shape
    y, x = np.mgrid[:height, :width] + 0.5
    theirs = own.georeference.to_pixel(seen.georeference.to_map(np.stack([x.ravel(), y.ravel()], axis=1))).astype(int)
    inner = (seen.valid & (x > 3) & (x < width - 3) & (y > 3) & (y < height - 3)).ravel()
    expected = pixels[theirs[inner, 1], theirs[inner, 0]].astype(int)
    assert np.abs(seen.images[0].reshape(-1, 3)[inner].astype(int) - expected).mean() < 3
    assert any(note.startswith(f"read at {gsd_m:g} m: 160 x 120 pixels") for note in seen.notes)


def test_pixels_that_become_one_are_averaged(tmp_path: Path) -> None:
    board = np.zeros((120, 160, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 200
    board[board == 0] = 100
    path = raster(tmp_path / "a.tif", board, UTM)
    seen = read_dates([path], bands=3, options={"gsd_m": 8.0}).images[0]
    assert np.abs(seen[1:-1, 1:-1].astype(int) - 150).max() <= 4


def test_pixels_of_degrees_become_square_on_the_ground(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", ground(), DEGREES, "EPSG:4326")
    place = read_dates([path], bands=3, options={"gsd_m": 1.0}).georeference
    assert place is not None and place.crs == "EPSG:4326"
    assert place.sides_m == pytest.approx((1.0, 1.0), rel=0.01)
    assert (place.width, place.height) == pytest.approx((160 * 1.1155, 120 * 2.2283), abs=1)


def test_a_large_raster_is_resampled_where_it_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raster(tmp_path / "a.tif", ground(300, 400), TURNED)
    for gsd_m in (1.3, 5.0):
        whole = read_dates([path], bands=3, options={"gsd_m": gsd_m})
        with monkeypatch.context() as patch:
            patch.setattr(dates_module, "WHOLE_PIXELS", 100)
            lazy = read_dates([path], bands=3, options={"gsd_m": gsd_m})
        assert whole.in_memory and not lazy.in_memory and lazy.georeference == whole.georeference
        for rows, columns in ((slice(0, 40), slice(0, 70)), (slice(31, 90), slice(50, 101))):
            part = lazy.cut(rows, columns)
            np.testing.assert_array_equal(part.valid, whole.valid[rows, columns])
            np.testing.assert_array_equal(part.images[0], whole.images[0][rows, columns])


def test_metres_of_the_projection_are_metres(tmp_path: Path) -> None:
    """On its central meridian a metre of UTM is 1.0004 m on the ground."""
    path = raster(tmp_path / "a.tif", ground(1200, 1600), UTM)
    own, seen = read_dates([path], bands=3), read_dates([path], bands=3, options={"gsd_m": 2.0})
    assert seen.georeference == own.georeference
    np.testing.assert_array_equal(seen.images[0], own.images[0])


def test_two_dates_and_a_window_are_resampled_too(tmp_path: Path) -> None:
    a = raster(tmp_path / "1985.tif", ground(), UTM)
    b = raster(tmp_path / "2020.tif", ground()[::-1], (3.0, 0.0, 5e5, 0.0, -3.0, 6.5e6))
    seen = read_dates([a, b], bands=3, options={"gsd_m": 4.0, "window": [0, 0, 80, 80]})
    assert [image.shape for image in seen.images] == [(40, 40, 3)] * 2
    assert seen.georeference == Georeference("EPSG:32635", (4.0, 0.0, 5e5, 0.0, -4.0, 6.5e6), 40, 40)


def test_what_has_no_size_on_the_ground_is_refused(tmp_path: Path) -> None:
    Image.fromarray(ground()).save(tmp_path / "a.png")
    plain = raster(tmp_path / "plain.tif", ground(), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None)
    local = raster(tmp_path / "local.tif", ground(), UTM, 'LOCAL_CS["site",UNIT["metre",1]]')
    for path in (tmp_path / "a.png", plain):
        with pytest.raises(UserError, match=rf"gsd_m=2 .*{path.name}.* does not say where it lies"):
            read_dates([path], bands=3, options={"gsd_m": 2.0})
    with pytest.raises(UserError, match=r"local.tif is on the ground: .*nowhere on the earth.*gdalwarp"):
        read_dates([local], bands=3, options={"gsd_m": 2.0})


@pytest.mark.parametrize(
    ("gsd_m", "said"),
    [(0.0, "above 0"), (-1.0, "above 0"), (0.01, "Give 0.2501 or more"), (1e3, "0 x 0 pixels. Give 15")],
)
def test_a_gsd_that_shows_nothing_is_refused(gsd_m: float, said: str) -> None:
    with pytest.raises(UserError, match=said):
        at_gsd(Georeference("EPSG:32635", UTM, 160, 120), gsd_m, name="a.tif")
