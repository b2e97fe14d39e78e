"""Pictures at an http(s) address: of a cloud-optimised GeoTIFF only the window or the overview that is needed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rsmoe.data.files.byte_ranges import read_range
from rsmoe.errors import UserError
from rsmoe.geo.failures import gdal_failures
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.opening import refuse_other_files
from rsmoe.geo.windows import WHOLE_PIXELS

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_MOST_BYTES = 2**28
"""Of a picture that is no GeoTIFF, which is fetched whole."""
_HEAD_BYTES = 64
_CURL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO", "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "20", "GDAL_HTTP_MAX_RETRY": "3", "GDAL_HTTP_RETRY_DELAY": "1",
}  # fmt: skip


def fetch_picture(url: str, folder: Path, *, window: tuple[int, int, int, int] | None = None) -> tuple[Path, str]:
    """Copies what is needed of a picture at an address into a folder.

    A TIFF or JPEG 2000 is read by ranges of bytes: its window, or all of it, with no more than `WHOLE_PIXELS` pixels;
    what is larger comes from the overviews of the file. It keeps its type, place, nodata, bands and date. Any other
    picture is fetched whole.

    Args:
        folder: where the copy goes, under the name that the address has.
        window: ``(left, top, width, height)`` in pixels of the raster.

    Returns:
        the copy, and a note for the user: "" where every pixel was read.

    Raises:
        UserError: the address cannot be read, is no picture, or too large.
    """
    head = read_range(url, 0, _HEAD_BYTES)
    name = unquote(urlsplit(url).path.rpartition("/")[2]) or "picture"
    target = folder / name.replace("/", "_").replace("\\", "_")[-200:]
    drivers = raster_drivers(head)
    if drivers and drivers != ("PNG",):
        return _fetch_raster(url, drivers, target.with_name(f"{target.stem}.tif"), window)
    content = read_range(url, 0, _MOST_BYTES)
    if len(content) == _MOST_BYTES:
        raise UserError(f"{url} has {_MOST_BYTES >> 20} MB or more and is no GeoTIFF: download it, and give the file")
    target.write_bytes(content)
    return target, ""


def _fetch_raster(
    url: str, drivers: tuple[str, ...], target: Path, window: tuple[int, int, int, int] | None
) -> tuple[Path, str]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.io import DatasetReader

    with rasterio.Env(**_CURL), warnings.catch_warnings(), gdal_failures(f"{url} cannot be read"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with DatasetReader(f"/vsicurl/{url}", driver=list(drivers)) as file:
            refuse_other_files(file, url)
            left, top, width, height = window or (0, 0, file.width, file.height)
            if min(left, top) < 0 or min(width, height) < 1 or left + width > file.width or top + height > file.height:
                raise UserError(
                    f"raster.window={list(window or ())} lies outside of {url}, {file.width} x {file.height} pixels"
                )
            _copy(file, target, (left, top, width, height))
    if width * height <= WHOLE_PIXELS:
        return target, ""
    return target, (
        f"{target.name}: {width} x {height} px at an address are read thinned to about {WHOLE_PIXELS:,} pixels; "
        "raster.window=[left,top,width,height] reads a part as it is"
    )


def _copy(file: DatasetReader, target: Path, window: tuple[int, int, int, int]) -> None:
    """Writes a window as a GeoTIFF of at most `WHOLE_PIXELS` pixels."""
    import rasterio
    from rasterio.enums import MaskFlags, Resampling
    from rasterio.windows import Window

    place = Window(*window)
    left, top, width, height = window
    shrink = min(1.0, (WHOLE_PIXELS / (width * height)) ** 0.5)
    wide, high = max(1, int(width * shrink)), max(1, int(height * shrink))
    shape = (file.count, high, wide)
    palette = file.colorinterp[0].name == "palette"
    way = Resampling.nearest if palette or shrink == 1 else Resampling.average
    a, b, c, d, e, f = tuple(file.transform)[:6]
    x, y = width / wide, height / high
    grid = rasterio.Affine(a * x, b * y, a * left + b * top + c, d * x, e * y, d * left + e * top + f)
    options: dict[str, Any] = {"count": file.count, "height": high, "width": wide, "dtype": file.dtypes[0]}
    options |= {"nodata": file.nodata, "compress": "deflate", "photometric": "MINISBLACK"}
    options |= {"crs": file.crs, "transform": grid} if file.crs is not None else {}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(target, "w", driver="GTiff", **options) as copy:
        copy.write(file.read(window=place, out_shape=shape, resampling=way))
        copy.colorinterp = file.colorinterp
        copy.descriptions, copy.scales, copy.offsets = file.descriptions, file.scales, file.offsets
        copy.update_tags(**file.tags())
        for band in file.indexes:
            copy.update_tags(band, ns="IMAGERY", **file.tags(band, ns="IMAGERY"))
        if palette:
            copy.write_colormap(1, file.colormap(1))
        if MaskFlags.per_dataset in file.mask_flag_enums[0] and MaskFlags.alpha not in file.mask_flag_enums[0]:
            copy.write_mask(file.dataset_mask(window=place, out_shape=shape[1:]))
