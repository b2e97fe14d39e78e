"""What a raster file says about itself."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.bands import COMMON_NM, named_bands
from rsmoe.geo.failures import gdal_failures
from rsmoe.geo.georeference import Georeference

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

DRIVERS = ["GTiff", "JP2OpenJPEG", "PNG", "JPEG", "HFA", "ENVI"]
"""Formats that hold their own pixels. A VRT may name any other file or url: convert it first."""


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
    has_alpha: bool
    nodata: float | None
    timestamp: datetime | None
    """Of the image, as far as the file or its name says."""
    georeference: Georeference | None
    scales: tuple[float, ...]
    """Physical value = stored * scale + offset, for each of ``bands``; 1 and 0 where the file says nothing."""
    offsets: tuple[float, ...]


def open_raster(
    path: str | Path, *, names: str | tuple[str, ...] | None = None, date_pattern: str | None = None
) -> RasterInfo:
    """Reads the header.

    Args:
        path: file in a format of `DRIVERS`.
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


@contextmanager
def opened(path: Path) -> Iterator[DatasetReader]:
    """A rasterio dataset for the length of a ``with``; every failure to read becomes a `UserError`."""
    with ExitStack() as stack:
        file = stack.enter_context(open_dataset(path))
        stack.enter_context(gdal_failures(f"{path} is damaged, copy or download it again"))
        yield file


def open_dataset(path: Path) -> DatasetReader:
    """A rasterio dataset that stays open; close it.

    Raises:
        UserError: for a file that is missing or not a raster.
    """
    from rasterio.env import env_ctx_if_needed
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
    from rasterio.io import DatasetReader

    if not path.is_file():
        raise UserError(f"no raster file {path}")
    try:
        with env_ctx_if_needed(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # ``georeference`` is None then
            # not rasterio.open, which takes one driver or all of them
            return DatasetReader(str(path), driver=DRIVERS)
    except RasterioIOError as error:
        raise UserError(
            f"{path} ({path.stat().st_size} bytes) is not a raster of {', '.join(DRIVERS)}: {error}. "
            f"Copy it again, or convert it: gdal_translate {path.name} out.tif"
        ) from error


def read_info(
    file: DatasetReader, path: Path, *, names: str | tuple[str, ...] | None = None, date_pattern: str | None = None
) -> RasterInfo:
    """`open_raster` of a file that is open."""
    from rasterio.enums import ColorInterp

    alpha = {i for i, colour in zip(file.indexes, file.colorinterp, strict=True) if colour == ColorInterp.alpha}
    indexes = [i for i in file.indexes if i not in alpha]
    types = {file.dtypes[i - 1] for i in indexes}
    if len(types) != 1 or next(iter(types)).startswith("complex"):
        raise UserError(f"{path} has bands of type {', '.join(sorted(types))}; expected real numbers of one type")
    return RasterInfo(
        path=path,
        width=file.width,
        height=file.height,
        dtype=types.pop(),
        bands=_bands(file, indexes, names),
        has_alpha=bool(alpha),
        nodata=file.nodata,
        timestamp=_timestamp(file, path, date_pattern),
        georeference=_georeference(file),
        scales=tuple(file.scales[i - 1] for i in indexes),
        offsets=tuple(file.offsets[i - 1] for i in indexes),
    )


def _bands(file: DatasetReader, indexes: list[int], names: str | tuple[str, ...] | None) -> tuple[Band, ...]:
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
        found = re.search(pattern, path.name)
        if found is None or "year" not in found.groupdict():
            raise UserError(f"raster.date_pattern={pattern!r} finds no group 'year' in the name {path.name!r}")
        parts = {name: int(text) for name, text in found.groupdict().items() if text}
        try:
            return datetime(**({"month": 1, "day": 1} | parts))  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise UserError(
                f"raster.date_pattern={pattern!r} makes no date of the name {path.name!r}: {error}"
            ) from error
    text = file.tags(ns="IMAGERY").get("ACQUISITIONDATETIME") or file.tags().get("TIFFTAG_DATETIME", "")
    digits = re.findall(r"\d+", text)[:6]
    try:
        return datetime(*map(int, digits)) if len(digits) >= 3 else None  # type: ignore[arg-type]
    except ValueError:
        return None  # "0000:00:00 00:00:00" is how TIFF writers leave it empty
