"""Masks as GeoTIFF and GeoJSON: the right place on the earth, every pixel once, and whole files or none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize

from rsmoe.errors import UserError
from rsmoe.geo import Georeference, open_raster
from rsmoe.geo.write import NO_DATA, write_class_map, write_polygons

UTM = Georeference("EPSG:32618", (10.0, 0.0, 500_000.0, 0.0, -10.0, 9_084_000.0), 12, 9)
DEGREES = Georeference("EPSG:4326", (0.001, 0.0, -74.0, 0.0, -0.001, -8.0), 12, 9)


def regions() -> np.ndarray:
    """Two kinds: a ring with a hole, a square that touches it at a corner, and a lone pixel."""
    kinds = np.zeros((9, 12), np.uint8)
    kinds[1:6, 1:6] = 1
    kinds[3, 3] = 0
    kinds[6:8, 6:9] = 1
    kinds[0, 11] = 2
    return kinds


@pytest.mark.parametrize("place", [UTM, DEGREES])
def test_a_class_map_lies_where_its_raster_does(place: Georeference, tmp_path: Path) -> None:
    valid = np.ones((9, 12), bool)
    valid[:, 0] = False
    path = write_class_map(tmp_path / "out" / "change.tif", regions(), georeference=place, valid=valid)
    info = open_raster(path)
    assert info.georeference == place and info.nodata == NO_DATA and info.dtype == "uint8"
    with rasterio.open(path) as file:
        values = file.read(1)
    np.testing.assert_array_equal(values[:, 1:], regions()[:, 1:])
    assert (values[:, 0] == NO_DATA).all()
    assert [p.name for p in path.parent.iterdir()] == ["change.tif"]


@pytest.mark.parametrize("place", [UTM, DEGREES, None])
def test_polygons_cover_the_pixels_of_the_map_and_no_other(place: Georeference | None, tmp_path: Path) -> None:
    kinds = regions()
    number = write_polygons(
        tmp_path / "c.geojson", kinds, georeference=place, classes=("no change", "house"), gsd_m=10.0
    )
    found = json.loads((tmp_path / "c.geojson").read_text())
    assert number == len(found["features"]) == 3  # a corner does not join
    told = [f["properties"] for f in found["features"]]
    assert {(p["class"], p["name"], p["pixels"]) for p in told} == {(1, "house", 24), (1, "house", 6), (2, "", 1)}
    assert all(p["area_m2"] == 100 * p["pixels"] for p in told)
    ring = next(f for f in found["features"] if f["properties"]["pixels"] == 24)
    assert len(ring["geometry"]["coordinates"]) == 2  # its hole
    transform = rasterio.Affine.identity() if place is None else rasterio.Affine(*place.transform)
    shapes = [(f["geometry"], f["properties"]["class"]) for f in found["features"]]
    np.testing.assert_array_equal(rasterize(shapes, out_shape=kinds.shape, transform=transform), kinds)
    named = found.get("crs", {}).get("properties", {}).get("name")
    assert named == ("urn:ogc:def:crs:EPSG::32618" if place is UTM else None)


def test_gdal_reads_the_crs_of_the_polygons(tmp_path: Path) -> None:
    """Through the same library that QGIS uses, the other way round from how it was written."""
    write_polygons(tmp_path / "c.geojson", regions(), georeference=UTM)
    found = json.loads((tmp_path / "c.geojson").read_text())
    assert rasterio.crs.CRS.from_user_input(found["crs"]["properties"]["name"]) == rasterio.crs.CRS.from_epsg(32618)
    x, y = np.array(found["features"][0]["geometry"]["coordinates"][0]).T
    left, bottom, right, top = UTM.bounds
    assert (x >= left).all() and (x <= right).all() and (y >= bottom).all() and (y <= top).all()


def test_no_data_and_nothing_are_no_polygons(tmp_path: Path) -> None:
    kinds = np.zeros((9, 12), np.uint8)
    kinds[2:4] = NO_DATA
    assert write_polygons(tmp_path / "c.geojson", kinds, georeference=UTM) == 0
    assert json.loads((tmp_path / "c.geojson").read_text())["features"] == []


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit a grid of \(9, 12\)"):
        write_class_map(tmp_path / "a.tif", np.zeros((8, 12), np.uint8), georeference=UTM)
    with pytest.raises(UserError, match="expected a mask"):
        write_polygons(tmp_path / "a.geojson", np.zeros((9, 12), np.float32), georeference=UTM)
    (tmp_path / "file").write_text("")
    for write, name in ((write_class_map, "x.tif"), (write_polygons, "x.geojson")):
        with pytest.raises(UserError, match="cannot make the folder"):
            write(tmp_path / "file" / name, regions(), georeference=UTM)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_picture_without_a_place_is_a_plain_tiff(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = write_class_map(tmp_path / "a.tif", regions() == 1, georeference=None)
    assert not recwarn.list
    assert open_raster(path).georeference is None
