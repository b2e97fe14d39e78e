"""Names and colours of classes as QGIS keeps them: a style (QML) beside a file, or in a GeoPackage."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from rsmoe.files import write_text

_STYLED = (".tif", ".geojson")
_OPAQUE = 0.6
"""Of a polygon: what lies below it is to be seen."""
_TABLE = """CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"""


@dataclass(frozen=True, kw_only=True)
class Legend:
    """What is drawn of a map and its polygons; values and names that it does not hold are not."""

    values: tuple[int, ...]
    """In a raster."""
    names: tuple[str, ...]
    """Of each value, which polygons have in their property ``name``."""
    colours: tuple[str, ...]
    """Of each, "#rrggbb"."""
    filled: bool = True
    """Whether polygons are filled; else they are outlines."""


def write_styles(folder: Path, files: Sequence[str], legend: Legend) -> list[str]:
    """``<name>.qml`` beside each raster and GeoJSON, from which QGIS takes how to draw it; the names of what was
    written. A raster, a GeoJSON and a FlatGeobuf of one name share it."""
    styles = list(dict.fromkeys(f"{Path(file).stem}.qml" for file in files if file.endswith(_STYLED)))
    for name in styles:
        write_text(folder / name, qml(legend))
    return styles


def add_style(package: Path, layer: str, style: str) -> None:
    """Makes a QML the style that QGIS draws a layer of a GeoPackage with (its table ``layer_styles``)."""
    with closing(sqlite3.connect(package)) as base, base:
        base.execute(_TABLE)
        base.execute(
            "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles')"
        )
        (geometry,) = base.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        ).fetchone()
        base.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
            "styleQML, useAsDefault, description) VALUES ('', '', ?, ?, ?, ?, 1, '')",
            (layer, geometry, layer, style),
        )


def qml(legend: Legend) -> str:
    """The style of a paletted raster and of polygons by name, in one."""
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    pipe = ElementTree.SubElement(root, "pipe")
    raster = ElementTree.SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    palette = ElementTree.SubElement(raster, "colorPalette")
    for value, name, colour in zip(legend.values, legend.names, legend.colours, strict=True):
        ElementTree.SubElement(palette, "paletteEntry", value=str(value), label=name, color=colour, alpha="255")
    polygons = ElementTree.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="name", forceraster="0", symbollevels="0"
    )
    categories, symbols = (ElementTree.SubElement(polygons, tag) for tag in ("categories", "symbols"))
    for number, (name, colour) in enumerate(dict(zip(legend.names, legend.colours, strict=True)).items()):
        key = str(number)
        ElementTree.SubElement(categories, "category", value=name, label=name, symbol=key, render="true")
        symbol = ElementTree.SubElement(
            symbols, "symbol", type="fill", name=key, alpha=str(_OPAQUE), clip_to_extent="1"
        )
        layer = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "pass": "0", "enabled": "1"})
        rgb = ",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
        drawn = {"color": f"{rgb},255", "outline_color": f"{rgb},255", "outline_style": "solid", "outline_width": "0.4"}
        drawn |= {"outline_width_unit": "MM", "style": "solid" if legend.filled else "no"}
        for prop, said in drawn.items():
            ElementTree.SubElement(layer, "prop", k=prop, v=said)
    ElementTree.SubElement(root, "layerGeometryType").text = "2"  # of polygons
    ElementTree.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(root, "unicode") + "\n"
