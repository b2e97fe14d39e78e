"""Raster files, opened by the driver of their format alone and without sidecar files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.failures import gdal_failures
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.pictures import decode_with_pillow, require_file_with_bytes

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


_ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
"""What lies beside a file (.aux.xml, .ovr, .msk) does not change its pixels: a copy in a shard has none of it."""


@contextmanager
def opened(file: Path | bytes, name: str | None = None) -> Iterator[DatasetReader]:
    """A rasterio dataset for the length of a ``with``; every failure to read becomes a `UserError`.

    Only the driver of the format that the file begins like may open it, and what lies beside it is not looked at, so
    that no name of another file or address inside of it is followed.

    Args:
        file: where it is, or its bytes.
        name: what it is called in messages; None means the path.
    """
    from rasterio.env import Env
    from rasterio.io import MemoryFile

    name = str(file) if name is None else name
    if isinstance(file, Path) and not file.is_file():
        raise UserError(f"no raster file {name}")
    require_file_with_bytes(file, name)
    drivers = raster_drivers(file)
    if not drivers:
        file, drivers = _as_tiff(file, name), ("GTiff",)
    with ExitStack() as stack:
        stack.enter_context(Env(**_around(drivers)))
        place = stack.enter_context(MemoryFile(file)).name if isinstance(file, bytes) else str(file.absolute())
        dataset = stack.enter_context(_reader(place, drivers, name))
        try:
            with gdal_failures(f"{name} is truncated or damaged, copy or download it again"):
                yield dataset
        except UnicodeDecodeError as error:
            raise UserError(f"{name} is truncated or damaged ({error}). Copy or download it again") from error


def open_dataset(path: Path) -> DatasetReader:
    """A rasterio dataset that stays open, to be read within `alone`; close it.

    Raises:
        UserError: for a file that is missing or not a raster.
    """
    if not path.is_file():
        raise UserError(f"no raster file {path}")
    require_file_with_bytes(path, str(path))
    drivers = raster_drivers(path)
    if not drivers:
        raise UserError(f"{path} is not a raster. Convert it: gdal_translate {path.name} out.tif")
    with alone(path):
        return _reader(str(path.absolute()), drivers, str(path))


def alone(path: Path, **options: Any) -> AbstractContextManager[Any]:
    """GDAL's settings under which sidecar files are not read; ``options`` are further ones."""
    from rasterio.env import Env

    return Env(**_around(raster_drivers(path)), **options)


def _around(drivers: Sequence[str]) -> dict[str, str]:
    return {} if set(drivers) & {"HFA", "ENVI"} else _ALONE


def _reader(place: str, drivers: Sequence[str], name: str) -> DatasetReader:
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
    from rasterio.io import DatasetReader

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # ``georeference`` is None then
            # not rasterio.open, which takes one driver or all of them
            dataset = DatasetReader(place, driver=list(drivers))
    except RasterioIOError as error:
        raise UserError(
            f"{name} is truncated or damaged, not a raster of {', '.join(drivers)}, or packed in a way that GDAL "
            f"here does not know ({error}). Copy it again, or convert it: gdal_translate in.tif out.tif"
        ) from error
    refuse_other_files(dataset, name)
    return dataset


def refuse_other_files(dataset: DatasetReader, name: str) -> None:
    """Refuses a raster that names another file.

    A TIFF may name the file of its overviews, which GDAL opens by any driver; an ERDAS file that of its pixels.

    Raises:
        UserError: naming both files.
    """
    named = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE")
    if named is None and dataset.driver == "HFA":
        named = next((path for path in dataset.files if Path(path).parent != Path(dataset.name).parent), None)
    if named is not None:
        raise UserError(f"{name} names another file, {named!r}, which is not read. Write it anew without it")


def _as_tiff(file: Path | bytes, name: str) -> bytes:
    """What `decode_with_pillow` makes of a picture that is Pillow's, for those who ask for a raster."""
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.io import MemoryFile

    try:
        pixels, valid = decode_with_pillow(file, name)
    except UserError as error:
        raise UserError(f"{name} is not a raster: {error}") from error
    size = {"width": pixels.shape[1], "height": pixels.shape[0], "count": pixels.shape[2]}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="GTiff", dtype="uint8", photometric="RGB", **size) as tiff:
            tiff.write(np.moveaxis(pixels, -1, 0))
            if valid is not None:
                tiff.write_mask(valid)
        return memory.read()
