"""A grid of pixels of another size on the same ground, in metres."""

from __future__ import annotations

from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference

_FINER = 8
"""How many pixels a side may be made of one: further ones show nothing that the file knows."""
_LEAST = 16
"""Pixels of a side below which nothing is left to be seen."""
_SAME = 0.005
"""Share by which sides may differ and be the same: the metres of UTM are up to 0.1 % off those on the ground."""


def at_gsd(place: Georeference | None, gsd_m: float, *, name: str) -> Georeference:
    """The ground of a grid in pixels of ``gsd_m`` by ``gsd_m`` metres, in the same CRS and at the same corner.

    Metres are those on the ground in the middle of the grid, whatever the units of the CRS are: a pixel of a degree a
    side becomes square on the ground. Sides are rounded to whole pixels.

    Args:
        place: None for a file that does not say where it lies.
        gsd_m: ground sampling distance, above 0.
        name: of the file, for messages.

    Raises:
        UserError: no place, or one nowhere on the earth; a gsd that is not positive, more than 8 times finer than the
            file's, or so coarse that a side has fewer than 16 pixels.
    """
    if not gsd_m > 0:
        raise UserError(f"gsd_m={gsd_m:g}: expected metres a pixel, above 0")
    if place is None:
        raise UserError(
            f"gsd_m={gsd_m:g} needs to know how large a pixel of {name} is on the ground, and the file does not say "
            "where it lies. Georeference it (gdal_translate -a_srs EPSG:... -a_ullr left top right bottom), or leave "
            "gsd_m= out and choose tile= in pixels of the file"
        )
    try:
        sides = place.sides_m
    except UserError as error:
        raise UserError(
            f"gsd_m={gsd_m:g} needs to know how large a pixel of {name} is on the ground: {error}. Bring it into a "
            f"coordinate system on the earth (gdalwarp -t_srs EPSG:... {name} warped.tif), or leave gsd_m= out"
        ) from error
    own = f"{name} has pixels of {sides[0]:.4g} x {sides[1]:.4g} m"
    if gsd_m * _FINER < min(sides):
        raise UserError(
            f"gsd_m={gsd_m:g}: {own}, and pixels more than {_FINER} times finer show nothing new. Give "
            f"{min(sides) / _FINER:.4g} or more"
        )
    width, height = (
        number if abs(side / gsd_m - 1) < _SAME else round(number * side / gsd_m)
        for number, side in zip((place.width, place.height), sides, strict=True)
    )
    if min(width, height) < _LEAST:
        most = min(place.width * sides[0], place.height * sides[1]) / _LEAST
        raise UserError(
            f"gsd_m={gsd_m:g}: {own}, so that all of it would be {width} x {height} pixels. Give {most:.4g} or less"
            if most >= min(sides) / _FINER
            else f"gsd_m={gsd_m:g}: {own}, and is too small to be resampled: leave gsd_m= out"
        )
    return place.resized(width, height)
