"""GDAL's failures as errors that a user can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rsmoe.errors import UserError

BLOCK_CACHE = 160 * 2**20
"""Bytes of decoded blocks that GDAL may keep; a twentieth of the machine's memory is its default."""


@contextmanager
def gdal_failures(what: str) -> Iterator[None]:
    """A ``with`` in which every error of GDAL, PROJ or rasterio becomes the `UserError` "<what>: <its first line>".

    Args:
        what: what cannot be done, "a.tif is damaged".
    """
    from rasterio.errors import CRSError, RasterioError

    # of what PROJ refuses, rasterio lets through its private class, which is no RasterioError, and neither is CRSError
    from rasterio._err import CPLE_BaseError  # isort: skip

    try:
        yield
    except (CRSError, RasterioError, CPLE_BaseError) as error:
        raise UserError(f"{what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else lines[0][:160] + " ..."
