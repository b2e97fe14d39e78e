"""Bands of a raster by number, name or wavelength."""

from __future__ import annotations

from rsmoe.errors import UserError
from rsmoe.geo.info import Band, RasterInfo

WAVELENGTH_TOLERANCE = 0.06
"""A band answers to a wavelength within 6 % of its middle: 665 nm finds 655, not 705."""


def band_named(info: RasterInfo, wanted: int | str) -> Band:
    """The band of a number from 1, or of a name in any case; raises `UserError` for one that is not there."""
    for band in info.bands:
        if wanted == band.index or isinstance(wanted, str) and wanted.lower() == band.name.lower():
            return band
    raise UserError(f"{info.path.name} has no band {wanted!r}. It has {_listed(info)}; raster.names= can name them")


def band_at(info: RasterInfo, nm: float) -> Band:
    """The band nearest to a wavelength; raises `UserError` for none within `WAVELENGTH_TOLERANCE`."""
    known = [(abs(b.wavelength_nm - nm), b) for b in info.bands if b.wavelength_nm is not None]
    if not known:
        raise UserError(f"{info.path.name} does not say its wavelengths. Give raster.names=, a sensor or a name a band")
    distance, band = min(known, key=lambda pair: pair[0])
    if distance > WAVELENGTH_TOLERANCE * nm:
        raise UserError(f"{info.path.name} has no band near {nm} nm. It has {_listed(info)}")
    return band


def _listed(info: RasterInfo) -> str:
    return ", ".join(
        f"{b.index} {b.name!r}" + (f" ({b.wavelength_nm:g} nm)" if b.wavelength_nm else "") for b in info.bands
    )
