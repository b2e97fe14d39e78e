"""Names and colours that QGIS draws with: beside files, and in a GeoPackage."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import rasterio

from rsmoe.evaluation.land_cover_report import write_cover
from rsmoe.geo.dates import Dates
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.layers import write_layers
from rsmoe.geo.styles import Legend, qml, write_styles

PLACE = Georeference("EPSG:32632", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 20, 16)
NAMES = ("water", "roof & wall", "forest")


def legend_of(style: str) -> tuple[dict[int, tuple[str, str]], dict[str, str]]:
    """Value -> name and colour of a raster, name -> colour of polygons."""
    root = ElementTree.fromstring(style)
    raster = {int(e.get("value", "")): (e.get("label", ""), e.get("color", "")) for e in root.iter("paletteEntry")}
    symbols = {
        symbol.get("name"): next(p.get("v", "") for p in symbol.iter("prop") if p.get("k") == "outline_color")
        for symbol in root.iter("symbol")
    }
    return raster, {c.get("value", ""): symbols[c.get("symbol")] for c in root.iter("category")}


def test_one_style_draws_a_raster_and_polygons() -> None:
    style = qml(Legend(values=(1, 2, 3), names=("a", "b", "a"), colours=("#FF0000", "#00FF80", "#FF0000")))
    raster, polygons = legend_of(style)
    assert raster == {1: ("a", "#FF0000"), 2: ("b", "#00FF80"), 3: ("a", "#FF0000")}
    assert polygons == {"a": "255,0,0,255", "b": "0,255,128,255"}
    hollow = qml(Legend(values=(1,), names=("a",), colours=("#FF0000",), filled=False))
    assert 'k="style" v="no"' in hollow and 'k="style" v="solid"' in style


@pytest.mark.parametrize("place", [PLACE, None])
def test_a_map_of_classes_has_the_colours_of_its_table_everywhere(place: Georeference | None, tmp_path: Path) -> None:
    kinds = np.zeros((16, 20), np.uint8)
    kinds[4:9, 5:12], kinds[10:, 15:] = 1, 2
    picture = np.full((16, 20, 3), 90, np.uint8)
    dates = Dates(images=(picture,), valid=np.ones((16, 20), bool), georeference=place, notes=())
    files = write_cover(tmp_path, kinds, dates, classes=NAMES, title="a")
    end = "px" if place is None else "crs"
    assert {f"land_cover_{end}.qml", "land_cover.qml"} <= set(files)
    assert all((tmp_path / name).is_file() for name in files)
    raster, polygons = legend_of((tmp_path / "land_cover.qml").read_text())
    with rasterio.open(tmp_path / "land_cover.tif") as file:
        table = file.colormap(1)
    for value, name in enumerate(NAMES):
        assert raster[value][0] == name
        assert tuple(int(raster[value][1][i : i + 2], 16) for i in (1, 3, 5)) == table[value][:3]
        assert polygons[name] == ",".join(map(str, table[value]))
    found = json.loads((tmp_path / f"land_cover_{end}.geojson").read_text())["features"]
    assert {feature["properties"]["name"] for feature in found} == set(polygons)
    assert (tmp_path / f"land_cover_{end}.qml").read_text() == (tmp_path / "land_cover.qml").read_text()

    for _ in range(2):  # written again, there is one style still
        assert write_layers(tmp_path, files, "gpkg") == ["layers.gpkg"]
        with closing(sqlite3.connect(tmp_path / "layers.gpkg")) as base:
            rows = base.execute("SELECT f_table_name, useAsDefault, styleQML, f_geometry_column FROM layer_styles")
            ((layer, default, style, column),) = rows.fetchall()
            stated = base.execute("SELECT column_name FROM gpkg_geometry_columns").fetchall()
    assert (layer, default, stated) == ("land_cover", 1, [(column,)]) and legend_of(style) == (raster, polygons)
    assert sorted(name for name, _ in pyogrio.list_layers(tmp_path / "layers.gpkg")) == ["land_cover", "layer_styles"]


def test_files_of_one_name_share_a_style(tmp_path: Path) -> None:
    legend = Legend(values=(1,), names=("a",), colours=("#FF0000",))
    files = ["mask.tif", "mask.geojson", "mask_crs.geojson", "answer.json"]
    assert write_styles(tmp_path, files, legend) == ["mask.qml", "mask_crs.qml"]
