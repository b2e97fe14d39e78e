"""Predicted masks and class maps as GeoTIFF, in the CRS of the raster they were predicted on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from rsmoe.errors import UserError
from rsmoe.files import whole_file, write_text
from rsmoe.geo.failures import BLOCK_CACHE, gdal_failures
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.strips import row_slices

NO_DATA = 255
"""Value of a written class map where the raster holds no data."""

_BLOCK = 512
_STRIP_PIXELS = 2**23


def write_class_map(
    path: Path,
    class_map: Any,
    *,
    georeference: Georeference | None,
    valid: Any = None,
    colours: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> Path:
    """Writes an (H, W) uint8 class map as a GeoTIFF of one band, `NO_DATA` where ``valid`` (H, W) bool is False.

    A mask is a class map of 0 and 1. Without a georeference the file is a plain TIFF in pixels. It has tiles of 512
    pixels, and overviews from 2048 pixels on. The file appears whole or not at all.

    Args:
        class_map, valid: arrays, or what is cut like them (`rsmoe.geo.strips.StripMap`), read strip by strip.
        georeference: of the map.
        colours: "#rrggbb" of the values, for the colour table; none writes no table.
        classes: names of the values: tags "CLASS_1" ..., and with the colours the attribute table beside the file,
            ``<name>.tif.aux.xml``, from which QGIS takes its legend.

    Raises:
        UserError: for a map of another type or size than the georeference, or a folder that cannot be written.
    """
    import rasterio
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.windows import Window

    check_map(class_map, georeference)
    place: dict[str, Any] = {}
    if georeference is not None:
        place = {"crs": georeference.crs, "transform": Affine(*georeference.transform)}
    height, width = class_map.shape
    options = {"height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": NO_DATA, **place}
    options |= {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "BIGTIFF": "IF_SAFER"}
    with (
        whole_file(path) as part,
        gdal_failures(f"cannot write {path}"),
        rasterio.Env(GDAL_CACHEMAX=BLOCK_CACHE),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain picture has no place
        with rasterio.open(part, "w", driver="GTiff", compress="deflate", **options) as file:
            if colours:
                file.write_colormap(1, {i: _rgb(colour) for i, colour in enumerate(colours[:NO_DATA])})
            file.update_tags(**{f"CLASS_{i}": name for i, name in enumerate(classes)})
            for rows in row_slices((height, width), max(1, _STRIP_PIXELS // (width * _BLOCK)) * width * _BLOCK):
                values = class_map[rows, :].astype(np.uint8)
                if valid is not None:
                    values = np.where(valid[rows, :], values, np.uint8(NO_DATA))
                file.write(values, 1, window=Window(0, rows.start, width, len(values)))
        if max(height, width) > 2048:
            with rasterio.open(part, "r+") as file:
                factors = [2**i for i in range(1, 12) if max(height, width) / 2**i > 256]
                file.build_overviews(factors, Resampling.nearest)
    if classes and colours:
        write_text(path.with_name(f"{path.name}.aux.xml"), _attribute_table(classes, colours))
    return path


def check_map(class_map: Any, georeference: Georeference | None) -> None:
    """Refuses what is no mask and no class map, or is of another size than its grid."""
    if len(class_map.shape) != 2 or class_map.dtype not in (np.uint8, np.bool_):
        raise UserError(f"expected a mask (H, W) bool or a class map uint8, got {class_map.shape} {class_map.dtype}")
    if georeference is not None and tuple(class_map.shape) != (georeference.height, georeference.width):
        raise UserError(
            f"a map of {class_map.shape} pixels does not fit a grid of {(georeference.height, georeference.width)}: "
            "resize it, or take georeference.resized(width, height)"
        )


def _attribute_table(classes: Sequence[str], colours: Sequence[str]) -> str:
    """GDAL's persistent auxiliary metadata: categories, and a raster attribute table of value, name and colour."""
    # name -> (type: 0 integer, 2 text; usage: 5 value, 2 name, 6 to 8 red, green, blue)
    fields = {"Value": (0, 5), "Class": (2, 2), "Red": (0, 6), "Green": (0, 7), "Blue": (0, 8)}
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    names = ElementTree.SubElement(band, "CategoryNames")
    for name in classes:
        ElementTree.SubElement(names, "Category").text = name
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, (kind, usage)) in enumerate(fields.items()):
        field = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for tag, said in (("Name", name), ("Type", kind), ("Usage", usage)):
            ElementTree.SubElement(field, tag).text = str(said)
    for value, (name, colour) in enumerate(zip(classes, colours, strict=False)):
        row = ElementTree.SubElement(table, "Row", index=str(value))
        for cell in (value, name, *_rgb(colour)):
            ElementTree.SubElement(row, "F").text = str(cell)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
