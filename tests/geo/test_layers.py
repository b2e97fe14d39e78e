"""Polygons as GeoPackage and FlatGeobuf, read back by GDAL."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest

from rsmoe.errors import UserError
from rsmoe.geo.geojson import map_features, write_geojson
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.layers import LayerFormat, require_layers, write_layers

PLACE = Georeference("EPSG:32632", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 60, 50)


def polygons(folder: Path, place: Georeference | None) -> list[str]:
    """A ring and a square, and a layer in which nothing was found."""
    values = np.zeros((50, 60), np.uint8)
    values[10:40, 10:40], values[20:30, 20:30], values[45:48, 50:58] = 1, 0, 1
    features = [({"score": 0.5, **own}, rings) for own, rings in map_features(values, classes=("", "ship"), gsd_m=10.0)]
    found = write_geojson(folder / "mask.geojson", features, georeference=place)
    return ["mask.tif", *found.names, *write_geojson(folder / "boxes.geojson", [], georeference=place).names]


@pytest.mark.parametrize(("kind", "files"), [("gpkg", ["layers.gpkg"]), ("fgb", ["mask.fgb", "boxes.fgb"])])
@pytest.mark.parametrize("place", [PLACE, None])
def test_layers_hold_what_the_geojson_holds(
    kind: LayerFormat, files: list[str], place: Georeference | None, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    names = polygons(tmp_path, place)
    assert write_layers(tmp_path, names, kind) == files
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    assert write_layers(tmp_path, names, kind) == files  # again, over those that are there
    own = json.loads((tmp_path / ("mask_crs.geojson" if place else "mask_px.geojson")).read_text())["features"]
    meta, _, geometry, columns = pyogrio.raw.read(tmp_path / files[0], layer="mask")
    assert (meta["crs"] == "EPSG:32632") == (place is not None) and meta["geometry_type"] == "Polygon"
    table = dict(zip(meta["fields"].tolist(), columns, strict=True))
    for key in ("score", "class", "name", "pixels", "area_m2"):
        assert sorted(table[key].tolist()) == sorted(f["properties"][key] for f in own)
    holes = [int.from_bytes(shape[5:9], "little") for shape in geometry]  # rings of a WKB polygon
    assert sorted(holes) == [1, 2]
    assert len(pyogrio.raw.read(tmp_path / files[-1], layer="boxes")[2]) == 0
    if program := shutil.which("ogrinfo"):
        said = subprocess.run([program, "-so", "-al", tmp_path / files[0]], capture_output=True, text=True, check=True)
        assert "Layer name: mask" in said.stdout and "Geometry: Polygon" in said.stdout


def test_without_the_package_the_line_to_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(UserError, match=r"pip install 'rsmoe\[gis\]'"):
        require_layers()
