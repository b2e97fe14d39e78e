"""Radiometric stretch: from the values of a sensor (reflectance as uint16, decibels as floats ...) to uint8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rsmoe.errors import UserError, require_known


@dataclass(frozen=True)
class Stretch:
    """A linear stretch: ``low`` becomes 0, ``high`` becomes 255, what lies outside is cut off.

    With a ``scale`` the ends are physical values, stored * scale + offset; a file that carries a scale and an offset of
    its own (GDAL's band metadata) is read by these instead. Without one they are values as stored. With ``percentile``
    they are percentiles of the whole raster, each band its own (on at most 1024 x 1024 pixels of it, so that all
    windows of a scene look alike): right for looking, wrong for comparing scenes.

    Raises:
        UserError: unless low < high, band by band, and for percentiles outside 0 to 100.
    """

    low: float | tuple[float, ...]
    """One number, or one for each band that is read."""
    high: float | tuple[float, ...]
    scale: float | None = None
    offset: float = 0.0
    percentile: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):  # a yaml gives lists; a frozen value must hash
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(map(float, value)) if np.ndim(value) else float(value))
        low, high = np.atleast_1d(self.low), np.atleast_1d(self.high)
        if low.size != high.size or not np.isfinite([*low, *high]).all() or not (low < high).all():
            raise UserError(f"expected low < high in a stretch, got low={self.low} and high={self.high}")
        if self.percentile and (low.size != 1 or low[0] < 0 or high[0] > 100):
            raise UserError(f"expected two percentiles from 0 to 100, got low={self.low} and high={self.high}")

    def values(self, stored: np.ndarray, scales: Sequence[float], offsets: Sequence[float]) -> np.ndarray:
        """(..., C) as stored -> (..., C) float32 in the unit of the ends.

        Args:
            stored: any real type.
            scales, offsets: C of each, as the file carries them; 1 and 0 where it carries none.
        """
        if self.scale is None:
            return stored.astype(np.float32)
        carried = any(scale != 1 for scale in scales) or any(offsets)
        scale = np.asarray(scales if carried else self.scale, np.float32)
        return stored.astype(np.float32) * scale + np.asarray(offsets if carried else self.offset, np.float32)

    def fit(self, values: np.ndarray) -> Stretch:
        """The fixed stretch that percentiles come to.

        Args:
            values: (n, C) finite values of pixels that hold data.

        Raises:
            UserError: when there are none.
        """
        if not self.percentile:
            return self
        if not len(values):
            raise UserError("a percentile stretch needs at least one pixel with data, the raster has none")
        low, high = np.percentile(values, [self.low, self.high], axis=0)
        high = np.where(high > low, high, low + 1)  # a flat band becomes 0
        return replace(self, low=tuple(low.tolist()), high=tuple(high.tolist()), percentile=False)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(H, W, C) values -> (H, W, C) uint8; what is not finite becomes 0.

        Raises:
            UserError: for ends of another number of bands, or percentiles that were not fitted.
        """
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        if low.ndim and len(low) != values.shape[-1]:
            raise UserError(f"the stretch has ends for {len(low)} bands, {values.shape[-1]} are read")
        if self.percentile:
            raise UserError("call fit before apply on a percentile stretch")
        scaled = (values.astype(np.float32) - low) * (255 / (high - low))
        return np.nan_to_num(scaled, nan=0, posinf=255, neginf=0).round().clip(0, 255).astype(np.uint8)


SENSOR_STRETCHES: dict[str, Stretch] = {
    "sentinel2": Stretch(0.0, 0.3, scale=1e-4),
    "sentinel2_baseline4": Stretch(0.0, 0.3, scale=1e-4, offset=-0.1),
    "landsat_c2_l2": Stretch(0.0, 0.3, scale=2.75e-5, offset=-0.2),
    "reflectance": Stretch(0.0, 0.3, scale=1.0),
    "unit": Stretch(0.0, 1.0, scale=1.0),
    "11bit": Stretch(0.0, 2047.0),
    "12bit": Stretch(0.0, 4095.0),
    "16bit": Stretch(0.0, 65535.0),
    "decibel": Stretch(-25.0, 0.0),
    "percentile": Stretch(2.0, 98.0, percentile=True),
}
"""Stretches by name. Reflectance ends at 0.3, where roofs and sand begin to saturate and vegetation keeps its contrast.

The numbers of Sentinel-2 and Landsat are from the product guides as we remember them.

- sentinel2: L1C and L2A of processing baselines before 04.00, reflectance = stored / 10000;
- sentinel2_baseline4: since 25 January 2022, reflectance = (stored - 1000) / 10000 (ADD_OFFSET of the product);
- landsat_c2_l2: Collection 2 level 2, reflectance = 0.0000275 stored - 0.2 (USGS LSDS-1619);
- reflectance: floats where 1 is all the light; unit: floats from 0 to 1 that are a picture already;
- 11bit, 12bit, 16bit: digital numbers of WorldView, Planet and others, the whole range;
- decibel: SAR backscatter in dB, -25 to 0;
- percentile: the 2nd to the 98th percentile of the raster.
"""


def named_stretch(stretch: Stretch | str | Sequence[float]) -> Stretch:
    """A stretch, the one with that name, or the linear one from ``[low, high]``, values as stored.

    Raises:
        UserError: for a name that is not in `SENSOR_STRETCHES`.
    """
    if isinstance(stretch, Stretch):
        return stretch
    if not isinstance(stretch, str):
        if len(stretch) != 2:
            raise UserError(f"stretch={list(stretch)}: expected a name, or [low,high]")
        return Stretch(float(stretch[0]), float(stretch[1]))
    require_known("stretch", stretch, known=SENSOR_STRETCHES)
    return SENSOR_STRETCHES[stretch]
