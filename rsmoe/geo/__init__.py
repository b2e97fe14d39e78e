"""Geo contract: rasters as they come from a satellite, as pictures that know where they lie.

- `open_raster(path)` -> `RasterInfo`: bands, type, nodata, date and georeference, without reading pixels;
- `RasterSource(path, bands=..., window=..., stretch=...)`: an image of a `Sample`. ``read()`` gives (H, W, C) uint8,
  ``valid()`` the (H, W) bool mask of pixels that hold data, ``georeference`` where the window lies;
- `align(before, after)`: the same for several dates on different grids, all on the grid of the first;
- `geojson.write_geojson`: polygons in longitude and latitude by RFC 7946, and beside it in the raster's CRS;
  `write.write_class_map`: a GeoTIFF;
- `Georeference`: pixels to map coordinates and back, longitudes and latitudes, the gsd in metres.

Points are (n, 2) float64: ``x y`` in pixels, where pixel (i, j) covers i <= x < i + 1 as boxes have it, ``x y`` in the
units of the CRS, or longitude and latitude in degrees, in this order whatever the authority of the CRS says. rasterio
is imported when a file is opened, not before.
"""

from rsmoe.geo.align import AlignedRaster, align
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.info import Band, RasterInfo, open_raster
from rsmoe.geo.raster import RasterSource
from rsmoe.geo.stretch import SENSOR_STRETCHES, Stretch

__all__ = [
    "SENSOR_STRETCHES",
    "AlignedRaster",
    "Band",
    "Georeference",
    "RasterInfo",
    "RasterSource",
    "Stretch",
    "align",
    "open_raster",
]
