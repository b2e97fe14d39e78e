"""Masks as GeoTIFF and GeoJSON: the right place on the earth, every pixel once, and whole files or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
from rasterio.features import rasterize

from rsmoe.errors import UserError
from rsmoe.geo import Georeference, open_raster
from rsmoe.geo.geojson import map_features, outline, write_geojson
from rsmoe.geo.lonlat import lonlat_geometry
from rsmoe.geo.write import NO_DATA, write_class_map

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


def loaded(path: Path) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = json.loads(path.read_text())["features"]
    return features


@pytest.mark.parametrize("place", [UTM, DEGREES, None])
def test_polygons_cover_the_pixels_of_the_map_and_no_other(place: Georeference | None, tmp_path: Path) -> None:
    kinds = regions()
    features = map_features(kinds, classes=("no change", "house"), gsd_m=10.0)
    written = write_geojson(tmp_path / "c.geojson", features, georeference=place)
    names = ("c_px.geojson",) if place is None else ("c.geojson", "c_crs.geojson")
    assert written.names == names and sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    found = json.loads((tmp_path / names[-1]).read_text())
    assert written.features == len(found["features"]) == 3  # a corner does not join
    told = [f["properties"] for f in found["features"]]
    assert {(p["class"], p["name"], p["pixels"]) for p in told} == {(1, "house", 24), (1, "house", 6), (2, "", 1)}
    assert all(p["area_m2"] == 100 * p["pixels"] for p in told)
    ring = next(f for f in found["features"] if f["properties"]["pixels"] == 24)
    assert len(ring["geometry"]["coordinates"]) == 2  # its hole
    transform = rasterio.Affine.identity() if place is None else rasterio.Affine(*place.transform)
    shapes = [(f["geometry"], f["properties"]["class"]) for f in found["features"]]
    np.testing.assert_array_equal(rasterize(shapes, out_shape=kinds.shape, transform=transform), kinds)
    named = found.get("crs", {}).get("properties", {}).get("name")
    expected = {UTM: "urn:ogc:def:crs:EPSG::32618", DEGREES: "urn:ogc:def:crs:OGC:1.3:CRS84", None: None}
    assert named == expected[place]


@pytest.mark.parametrize("place", [UTM, DEGREES, Georeference("EPSG:3857", (5.0, 2.0, -8e6, 1.0, 5.0, 3e6), 12, 9)])
def test_degrees_are_those_of_rfc_7946(place: Georeference, tmp_path: Path) -> None:
    """WGS 84 without a crs member, outlines counterclockwise, holes clockwise, where rasterio's transform puts them."""
    write_geojson(tmp_path / "c.geojson", map_features(regions()), georeference=place)
    whole = json.loads((tmp_path / "c.geojson").read_text())
    assert set(whole) == {"type", "features"}
    theirs = loaded(tmp_path / "c_crs.geojson")
    for feature, other in zip(whole["features"], theirs, strict=True):
        assert feature["properties"] == other["properties"] and feature["geometry"]["type"] == "Polygon"
        moved = rasterio.warp.transform_geom(place.crs, "EPSG:4326", other["geometry"])
        for number, (ring, same) in enumerate(
            zip(feature["geometry"]["coordinates"], moved["coordinates"], strict=True)
        ):
            assert ring[0] == ring[-1] and (signed_area(ring) > 0) == (number == 0)
            ours = {tuple(point) for point in np.round(ring, 5).tolist()}
            assert {tuple(point) for point in np.round(same, 5).tolist()} <= ours
            assert abs(signed_area(ring)) == pytest.approx(abs(signed_area(same)), rel=1e-2)  # 1 cm


def signed_area(ring: Any) -> float:
    x, y = (np.asarray(ring, np.float64) - ring[0]).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def covered(geometry: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """Whether each (lon, lat) lies in a geometry, by rasterio on a grid of degrees around the whole earth."""
    step = 0.05
    grid = rasterio.Affine(step, 0, -180, 0, -step, 90)
    burnt = rasterize([geometry], out_shape=(int(180 / step), int(360 / step)), transform=grid)
    columns = np.floor((points[:, 0] + 180) / step).astype(int) % burnt.shape[1]
    rows = np.clip(np.floor((90 - points[:, 1]) / step).astype(int), 0, burnt.shape[0] - 1)
    inside: np.ndarray = burnt[rows, columns] > 0
    return inside


def hole() -> np.ndarray:
    return np.array([[4, 4], [4, 6], [6, 6], [6, 4], [4, 4]])


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        (Georeference("EPSG:4326", (0.2, 0.0, 179.0, 0.0, -0.2, 1.0), 10, 10), 2),
        (Georeference("EPSG:4326", (0.2, 0.0, 359.0, 0.0, -0.2, 1.0), 10, 10), 1),
        (Georeference("EPSG:4326", (0.1, 0.0, 179.0, 0.0, -0.1, 1.0), 10, 10), 1),  # it ends there
        (Georeference("EPSG:32601", (2e4, 0.0, 1e5, 0.0, -2e4, 2e5), 10, 10), 2),
        (Georeference("EPSG:3832", (3e4, 0.0, 3.2e6, 0.0, 3e4, -1e5), 10, 10), 2),  # south up
        (Georeference("EPSG:3413", (2e5, 0.0, -1e6, 0.0, -2e5, 1e6), 10, 10), 1),  # around the north pole
        (Georeference("EPSG:3031", (2e5, 0.0, -1e6, 0.0, -2e5, 1e6), 10, 10), 1),
    ],
    ids=["degrees", "beyond 360", "touches 180", "UTM", "Mercator of the Pacific", "north pole", "south pole"],
)
@pytest.mark.parametrize("holes", [False, True])
def test_the_antimeridian_cuts_and_a_pole_closes(place: Georeference, parts: int, holes: bool) -> None:
    rings = [outline(10, 10), *([hole()] if holes else [])]
    geometry = lonlat_geometry(rings, place)
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    assert len(polygons) == parts and (geometry["type"] == "MultiPolygon") == (parts > 1)
    for polygon in polygons:
        for number, ring in enumerate(polygon):
            x, y = np.array(ring).T
            assert ring[0] == ring[-1] and abs(x).max() <= 180 and abs(y).max() <= 90
            assert np.abs(np.diff(x))[np.abs(y[1:]) < 90].max() <= 180  # no edge goes the long way round
            assert (signed_area(ring) > 0) == (number == 0)
    inner = np.stack(np.meshgrid(np.arange(0.5, 10), np.arange(0.5, 10)), axis=-1).reshape(-1, 2)
    wanted = ~((np.abs(inner - 5) < 1).all(axis=1)) if holes else np.ones(len(inner), bool)
    lonlat = place.to_lonlat(inner)
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    np.testing.assert_array_equal(covered(geometry, lonlat), wanted)
    outside = place.to_lonlat(np.array([[-1.0, 5], [11, 5], [5, -1], [5, 11]]))
    outside[:, 0] = (outside[:, 0] + 180) % 360 - 180
    assert not covered(geometry, outside).any()


def test_the_whole_earth_is_one_polygon() -> None:
    geometry = lonlat_geometry([outline(360, 180)], Georeference("EPSG:4326", (1, 0, -180, 0, -1, 90), 360, 180))
    assert geometry["type"] == "Polygon" and signed_area(geometry["coordinates"][0]) == pytest.approx(360 * 180)


def test_gdal_reads_the_crs_of_the_polygons(tmp_path: Path) -> None:
    """Through the same library that QGIS uses, the other way round from how it was written."""
    write_geojson(tmp_path / "c.geojson", map_features(regions()), georeference=UTM)
    found = json.loads((tmp_path / "c_crs.geojson").read_text())
    assert rasterio.crs.CRS.from_user_input(found["crs"]["properties"]["name"]) == rasterio.crs.CRS.from_epsg(32618)
    x, y = np.array(found["features"][0]["geometry"]["coordinates"][0]).T
    left, bottom, right, top = UTM.bounds
    assert (x >= left).all() and (x <= right).all() and (y >= bottom).all() and (y <= top).all()


def test_no_data_and_nothing_are_no_polygons(tmp_path: Path) -> None:
    kinds = np.zeros((9, 12), np.uint8)
    kinds[2:4] = NO_DATA
    assert write_geojson(tmp_path / "c.geojson", map_features(kinds), georeference=UTM).features == 0
    assert loaded(tmp_path / "c.geojson") == loaded(tmp_path / "c_crs.geojson") == []


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit a grid of \(9, 12\)"):
        write_class_map(tmp_path / "a.tif", np.zeros((8, 12), np.uint8), georeference=UTM)
    with pytest.raises(UserError, match="expected a mask"):
        write_geojson(tmp_path / "a.geojson", map_features(np.zeros((9, 12), np.float32)), georeference=UTM)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the folder"):
        write_class_map(tmp_path / "file" / "x.tif", regions(), georeference=UTM)
    with pytest.raises(UserError, match="cannot make the folder"):
        write_geojson(tmp_path / "file" / "x.geojson", map_features(regions()), georeference=UTM)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_picture_without_a_place_is_a_plain_tiff(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = write_class_map(tmp_path / "a.tif", regions() == 1, georeference=None)
    assert not recwarn.list
    assert open_raster(path).georeference is None
