"""Metadata of a raster file."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags

from rsmoe.errors import UserError
from rsmoe.geo.bands import COMMON_NM, named_bands
from rsmoe.geo.file_format import raster_drivers, tiff_orientation
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.opening import opened
from rsmoe.geo.pictures import open_picture

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


@dataclass(frozen=True)
class Band:
    """One band of a raster."""

    index: int
    """From 1, as GDAL counts."""
    name: str
    """Declared, else its description or colour in the file, else "band 1"."""
    wavelength_nm: float | None
    """Middle of the band, declared, as the file has it, or as its common name says."""


@dataclass(frozen=True, kw_only=True)
class RasterInfo:
    """Metadata of one raster file."""

    path: Path
    width: int
    height: int
    dtype: str
    """Type of all bands, "uint8", "uint16", "float32" ..."""
    bands: tuple[Band, ...]
    """Without alpha."""
    nodata: float | None
    timestamp: datetime | None
    """Of the image, as far as the file or its name says."""
    georeference: Georeference | None
    """Of the file, or of a world file and ``.aux.xml`` beside it, the only thing that is taken from there."""
    scales: tuple[float, ...]
    """Physical value = stored * scale + offset, for each of ``bands``; 1 and 0 where the file says nothing."""
    offsets: tuple[float, ...]
    palette: bool = False
    """Whether the file stores indices into a table of colours; ``bands`` are the red, green and blue of those."""
    white_is_zero: bool = False
    """TIFF's photometric interpretation: the greatest value is black."""
    bits: int = 8
    """Bits of a band as stored, by which 1, 2 and 4 are spread over 0 to 255."""
    orientation: int = 1
    """As EXIF counts; ``width`` and ``height`` are upright. 1 for a file with a georeference, which is of its rows."""


def open_raster(
    path: str | Path, *, names: str | tuple[str, ...] | None = None, date_pattern: str | None = None
) -> RasterInfo:
    """Reads the header.

    Args:
        path: a TIFF, JPEG 2000, PNG, ERDAS or ENVI file; another picture has three bands and no place.
        names: a sensor or one name a band, see `rsmoe.geo.bands`.
        date_pattern: regular expression with groups ``year`` and, if they are there, ``month``, ``day``, ``hour``,
            ``minute``, ``second``, found in the file's name: r"(?P<year>\\d{4})" for ``1985.tif``. It goes before the
            date in the file, since TIFFTAG_DATETIME is often the day when the file was written.

    Raises:
        UserError: for a file that is missing or not a raster, complex bands, bands of different types, or a name
            that the pattern does not fit.
    """
    with opened(Path(path)) as file:
        return read_info(file, Path(path), names=names, date_pattern=date_pattern)


def read_info(
    file: DatasetReader,
    path: Path,
    *,
    names: str | tuple[str, ...] | None = None,
    date_pattern: str | None = None,
    content: bytes | None = None,
) -> RasterInfo:
    """`open_raster` of a file that is open.

    Args:
        content: its bytes, where it has no path.
    """
    from rasterio.enums import ColorInterp

    alpha = {i for i, colour in zip(file.indexes, file.colorinterp, strict=True) if colour == ColorInterp.alpha}
    indexes = [i for i in file.indexes if i not in alpha]
    types = {file.dtypes[i - 1] for i in indexes}
    if len(types) != 1 or next(iter(types)).startswith("complex"):
        raise UserError(f"{path} has bands of type {', '.join(sorted(types))}; expected real numbers of one type")
    georeference = _georeference(file) or (_beside(path) if content is None else None)
    orientation = _orientation(path if content is None else content, str(path))
    orientation = 1 if georeference is not None else orientation
    width, height = (file.height, file.width) if orientation > 4 else (file.width, file.height)
    palette = len(indexes) == 1 and file.colorinterp[indexes[0] - 1] == ColorInterp.palette
    dtype = types.pop()
    bits = file.tags(indexes[0], ns="IMAGE_STRUCTURE").get("NBITS")
    return RasterInfo(
        path=path,
        width=width,
        height=height,
        dtype="uint8" if palette else dtype,
        bands=_bands(file, indexes, names, palette=palette),
        nodata=file.nodata,
        timestamp=_timestamp(file, path, date_pattern),
        georeference=georeference,
        scales=(1.0,) * 3 if palette else tuple(file.scales[i - 1] for i in indexes),
        offsets=(0.0,) * 3 if palette else tuple(file.offsets[i - 1] for i in indexes),
        palette=palette,
        white_is_zero=file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES",
        bits=8 * np.dtype(dtype).itemsize if bits is None else int(bits),
        orientation=orientation,
    )


def _beside(path: Path) -> Georeference | None:
    """Of a file that says nothing itself, where ``.aux.xml`` does."""
    from rasterio.env import Env
    from rasterio.io import DatasetReader

    if not path.with_name(f"{path.name}.aux.xml").is_file():
        return None
    sidecars = {"GDAL_DISABLE_READDIR_ON_OPEN": "NO", "GDAL_PAM_ENABLED": "YES"}
    with Env(**sidecars), DatasetReader(str(path.absolute()), driver=list(raster_drivers(path))) as file:
        return _georeference(file)


def _orientation(file: Path | bytes, name: str) -> int:
    drivers = raster_drivers(file)
    if "GTiff" in drivers:
        with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as stream:
            try:
                return tiff_orientation(stream)
            except EOFError as error:
                raise UserError(f"{name} is truncated or damaged ({error}). Copy or download it again") from error
    if "PNG" in drivers:
        with open_picture(file, name) as image:
            found = image.getexif().get(ExifTags.Base.Orientation)
            return int(found) if isinstance(found, int) and 1 <= found <= 8 else 1
    return 1


def _bands(
    file: DatasetReader, indexes: list[int], names: str | tuple[str, ...] | None, *, palette: bool
) -> tuple[Band, ...]:
    if palette:
        indexes, names = [1, 2, 3], ("red", "green", "blue") if names is None else names
    if names is not None:
        declared = named_bands(names, len(indexes))
        return tuple(Band(i, name, nm) for i, (name, nm) in zip(indexes, declared.items(), strict=True))
    bands = []
    for i in indexes:
        colour = file.colorinterp[i - 1].name
        name = file.descriptions[i - 1] or (colour if colour in ("red", "green", "blue") else f"band {i}")
        micrometres = file.tags(i, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
        bands.append(Band(i, name, float(micrometres) * 1000 if micrometres else COMMON_NM.get(name.lower())))
    return tuple(bands)


def _georeference(file: DatasetReader) -> Georeference | None:
    """None where the file does not say, or says what places no pixel: sizes of zero, NaN."""
    if file.crs is None or file.transform.is_identity:
        return None
    a, b, c, d, e, f = tuple(file.transform)[:6]
    if not np.isfinite((a, b, c, d, e, f)).all() or not a * e - b * d:
        return None
    return Georeference(file.crs.to_string(), (a, b, c, d, e, f), file.width, file.height)


def _timestamp(file: DatasetReader, path: Path, pattern: str | None) -> datetime | None:
    if pattern is not None:
        remedy = "Give raster.date_pattern='(?P<year>\\d{4})' or another that fits, or leave it out"
        try:
            found = re.search(pattern, path.name)
        except re.error as error:
            raise UserError(f"raster.date_pattern={pattern!r} is no regular expression: {error}. {remedy}") from error
        if found is None or not found.groupdict().get("year"):
            raise UserError(
                f"raster.date_pattern={pattern!r} finds no group 'year' in the name {path.name!r}. {remedy}"
            )
        try:
            parts = {name: int(text) for name, text in found.groupdict().items() if text}
            return datetime(**({"month": 1, "day": 1} | parts))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"raster.date_pattern={pattern!r} makes no date of the name {path.name!r}: {error}. {remedy}"
            ) from error
    text = file.tags(ns="IMAGERY").get("ACQUISITIONDATETIME") or file.tags().get("TIFFTAG_DATETIME", "")
    digits = re.findall(r"\d+", text)[:6]
    try:
        return datetime(*map(int, digits)) if len(digits) >= 3 else None  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None  # "0000:00:00 00:00:00" is how TIFF writers leave it empty
