"""Names and middle wavelengths of bands."""

from __future__ import annotations

from rsmoe.errors import UserError, require_known

COMMON_NM: dict[str, float] = {
    "coastal": 443, "blue": 490, "green": 560, "yellow": 605, "red": 660, "rededge": 720, "nir": 840, "nir08": 865,
    "nir09": 945, "cirrus": 1375, "swir16": 1610, "swir22": 2200, "lwir11": 10900, "lwir12": 12000,
}  # fmt: skip
"""Common names of the STAC ``eo`` extension, with a wavelength in the middle of their range."""

SENSOR_NM: dict[str, dict[str, float]] = {
    "sentinel2_l1c": {
        "B01": 443, "B02": 490, "B03": 560, "B04": 665, "B05": 705, "B06": 740, "B07": 783, "B08": 842, "B8A": 865,
        "B09": 945, "B10": 1375, "B11": 1610, "B12": 2190,
    },
    "sentinel2_l2a": {
        "B01": 443, "B02": 490, "B03": 560, "B04": 665, "B05": 705, "B06": 740, "B07": 783, "B08": 842, "B8A": 865,
        "B09": 945, "B11": 1610, "B12": 2190,
    },
    "landsat_oli": {"B1": 443, "B2": 482, "B3": 561, "B4": 655, "B5": 865, "B6": 1609, "B7": 2201},
    "landsat_tm": {"B1": 485, "B2": 560, "B3": 660, "B4": 830, "B5": 1650, "B7": 2215},
    "naip": {"red": 660, "green": 560, "blue": 490, "nir": 840},
}  # fmt: skip
"""Reflective bands of a sensor in the order of its files; TM holds for ETM+ too. The numbers are from the product
guides of ESA and USGS as we remember them."""


def named_bands(names: str | tuple[str, ...], count: int) -> dict[str, float | None]:
    """Name and wavelength in nm of each of the ``count`` bands of a file.

    Args:
        names: a sensor of `SENSOR_NM`, or one name for each band; those of `COMMON_NM` have a wavelength.
        count: bands of the file, alpha left out.

    Raises:
        UserError: for a sensor that is not known, or another number of names than bands.
    """
    if isinstance(names, str):
        require_known("sensor", names, known=SENSOR_NM)
        bands: dict[str, float | None] = dict(SENSOR_NM[names])
    else:
        bands = {name: COMMON_NM.get(name.lower()) for name in names}
    if len(bands) != count:
        raise UserError(
            f"raster.names={names!r} stands for {len(bands)} different bands ({', '.join(bands)}), the raster has "
            f"{count}. Give {count} names in the order of the file, for instance {', '.join(list(COMMON_NM)[:3])} ..."
        )
    return bands
