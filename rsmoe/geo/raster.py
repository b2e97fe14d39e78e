"""A raster, or a window of it, as an image of a `Sample`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsmoe.data.images import MAX_PIXELS
from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.info import Band, RasterInfo, open_raster, opened, read_info
from rsmoe.geo.stretch import SENSOR_STRETCHES, Stretch, named_stretch

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

WAVELENGTH_TOLERANCE = 0.06
"""A band answers to a wavelength within 6 % of its middle: 665 nm finds 655, not 705."""

_SAMPLE_SIDE = 1024


@dataclass(frozen=True, kw_only=True)
class RasterSource:
    """Bands and window of a raster file, read when needed; a `rsmoe.data.sample.Lazy` that gives (H, W, C) uint8.

    A pixel holds data where GDAL's mask says so (alpha, a mask file, or nodata in some but not in all bands, for a
    dark band alone is no hole) and all chosen bands are finite; elsewhere it is 0 in every band.

    Args:
        path: file in a format of `rsmoe.geo.info.DRIVERS`.
        bands: in the order wanted, as numbers from 1 or as names (any case); None is all of them, alpha left out.
        wavelengths_nm: the same by middle wavelength: the nearest band within `WAVELENGTH_TOLERANCE`.
        names: of the file's bands, where it does not have them: a sensor, or one name a band, see `rsmoe.geo.bands`.
        window: ``(left, top, width, height)`` in pixels, inside the raster; None is all of it.
        stretch: to 8 bits, a `Stretch` or a name of `SENSOR_STRETCHES`. None takes uint8 as it is and nothing else.
        nodata: goes before the file's own.
        date_pattern: see `open_raster`.

    Raises:
        UserError: for ``bands`` and ``wavelengths_nm`` together or an unknown stretch; when read, see `open_raster`,
            and for bands that are not there, a window outside, more than `MAX_PIXELS`, or no stretch where one is
            needed.
    """

    path: Path
    bands: tuple[int | str, ...] | None = None
    wavelengths_nm: tuple[float, ...] | None = None
    names: str | tuple[str, ...] | None = None
    window: tuple[int, int, int, int] | None = None
    stretch: Stretch | str | None = None
    nodata: float | None = None
    date_pattern: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        for field in ("bands", "wavelengths_nm", "names", "window"):  # a yaml gives lists; a frozen value must hash
            value = getattr(self, field)
            if value is not None and not isinstance(value, str):
                object.__setattr__(self, field, tuple(value))
        if self.window is not None and (len(self.window) != 4 or any(type(side) is not int for side in self.window)):
            raise UserError(f"raster.window={self.window!r}: expected four whole numbers [left,top,width,height]")
        if self.bands is not None and self.wavelengths_nm is not None:
            raise UserError("choose bands by raster.bands= or by raster.wavelengths_nm=, not by both")
        if self.stretch is not None:
            object.__setattr__(self, "stretch", named_stretch(self.stretch))

    @property
    def key(self) -> str:
        """Hash of the path and all options."""
        return "raster:" + hashlib.sha1(repr(self).encode()).hexdigest()

    @property
    def info(self) -> RasterInfo:
        """Metadata of the whole file."""
        return open_raster(self.path, names=self.names, date_pattern=self.date_pattern)

    @property
    def georeference(self) -> Georeference | None:
        """Where the window lies; None for a file that does not say."""
        info = self.info
        return None if info.georeference is None else info.georeference.subwindow(*self.window_in(info))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of what is read."""
        info = self.info
        _, _, width, height = self.window_in(info)
        return height, width, len(self.chosen(info))

    def chosen(self, info: RasterInfo) -> tuple[Band, ...]:
        """The bands to read, in order; raises `UserError` for one that is not there."""
        if self.wavelengths_nm is not None:
            return tuple(self._by_wavelength(info, nm) for nm in self.wavelengths_nm)
        if self.bands is None:
            return info.bands
        return tuple(self._by_name(info, name) for name in self.bands)

    def read(self) -> np.ndarray:
        """(H, W, C) uint8."""
        with opened(self.path) as file:
            info = self._info(file)
            stored, valid = self._load(file, info, self.window_in(info))
            return self.to_uint8(stored, valid, info=info, stretch=self.fitted_stretch(file, info))

    def valid(self) -> np.ndarray:
        """(H, W) bool: True where there is data."""
        with opened(self.path) as file:
            info = self._info(file)
            return self._load(file, info, self.window_in(info))[1]

    def stored(self, window: tuple[int, int, int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, C) values in the type of the file, and the (H, W) bool mask of data; of the source's window by
        default, else of ``(left, top, width, height)`` of the file."""
        with opened(self.path) as file:
            info = self._info(file)
            return self._load(file, info, self.window_in(info) if window is None else window)

    def overview(self) -> np.ndarray:
        """(n, C) values as stored of pixels with data, over the whole file, thinned to 1024 x 1024 pixels."""
        with opened(self.path) as file:
            return self._overview(file, self._info(file))

    def to_uint8(
        self, stored: np.ndarray, valid: np.ndarray, *, info: RasterInfo, stretch: Stretch | None
    ) -> np.ndarray:
        """(H, W, C) values as stored -> uint8, 0 where there is no data.

        Args:
            stored: of `stored`, of the chosen bands.
            valid: (H, W) bool.
            info: of this file.
            stretch: fixed; None where the values are 8 bits already.
        """
        if stretch is None:
            picture = np.nan_to_num(stored.astype(np.float32)).round().clip(0, 255).astype(np.uint8)
        else:
            picture = stretch.apply(stretch.values(stored, *self.calibration(info)))
        picture[~valid] = 0
        return picture

    def fitted_stretch(self, file: DatasetReader, info: RasterInfo) -> Stretch | None:
        """The stretch with its percentiles measured; None for uint8 as it is."""
        if self.stretch is None:
            if info.dtype != "uint8":
                raise UserError(
                    f"{self.path} stores {info.dtype}; say how it becomes 8 bits: raster.stretch=<name> with one of "
                    f"{', '.join(SENSOR_STRETCHES)}"
                )
            return None
        assert isinstance(self.stretch, Stretch)
        if not self.stretch.percentile:
            return self.stretch
        return self.stretch.fit(self.stretch.values(self._overview(file, info), *self.calibration(info)))

    def _info(self, file: DatasetReader) -> RasterInfo:
        return read_info(file, self.path, names=self.names, date_pattern=self.date_pattern)

    def calibration(self, info: RasterInfo) -> tuple[list[float], list[float]]:
        """Scale and offset of each chosen band, as the file carries them."""
        place = [info.bands.index(band) for band in self.chosen(info)]
        return [info.scales[i] for i in place], [info.offsets[i] for i in place]

    def window_in(self, info: RasterInfo) -> tuple[int, int, int, int]:
        """``(left, top, width, height)`` that is read; raises `UserError` for one that is not inside."""
        if self.window is None:
            return 0, 0, info.width, info.height
        left, top, width, height = self.window
        if min(left, top) < 0 or min(width, height) < 1 or left + width > info.width or top + height > info.height:
            raise UserError(
                f"raster.window={list(self.window)} (left, top, width, height) is not inside {self.path.name}, "
                f"which is {info.width} x {info.height} pixels"
            )
        return self.window

    def _load(
        self, file: DatasetReader, info: RasterInfo, window: tuple[int, int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        if window[2] * window[3] > MAX_PIXELS:
            raise UserError(
                f"{window[2]} x {window[3]} pixels of {self.path.name} are more than {MAX_PIXELS:,}, too many to read "
                f"at once. Cut it: gdal_translate -srcwin left top width height {self.path.name} part.tif"
            )
        return self.pixels(file, info, window)

    def _overview(self, file: DatasetReader, info: RasterInfo) -> np.ndarray:
        shape = (min(info.height, _SAMPLE_SIDE), min(info.width, _SAMPLE_SIDE))
        stored, valid = self.pixels(file, info, (0, 0, info.width, info.height), shape=shape)
        return stored[valid]

    def pixels(
        self,
        file: DatasetReader,
        info: RasterInfo,
        window: tuple[int, int, int, int],
        *,
        shape: tuple[int, int] | None = None,
        mean: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """`stored` of a file that is open.

        Args:
            file, info: of this source.
            window: ``(left, top, width, height)`` of the file.
            shape: (h, w) to thin the window to; None reads every pixel.
            mean: a thinned pixel is the mean of those it stands for, else one of them.
        """
        from rasterio.enums import Resampling
        from rasterio.windows import Window

        place, way = Window(*window), Resampling.average if mean else Resampling.nearest

        def read(indexes: list[int]) -> np.ndarray:
            size = None if shape is None else (len(indexes), *shape)
            return np.moveaxis(file.read(indexes, window=place, out_shape=size, resampling=way), 0, -1)

        stored = read([band.index for band in self.chosen(info)])
        if self.nodata is None:
            valid = file.dataset_mask(window=place, out_shape=shape) > 0
        else:
            every = read([band.index for band in info.bands])
            valid = ~(np.isnan(every) if np.isnan(self.nodata) else every == self.nodata).all(axis=-1)
        if stored.dtype.kind == "f":
            valid &= np.isfinite(stored).all(axis=-1)
        return stored, valid

    def _by_name(self, info: RasterInfo, wanted: int | str) -> Band:
        for band in info.bands:
            if wanted == band.index or isinstance(wanted, str) and wanted.lower() == band.name.lower():
                return band
        raise UserError(f"{self.path.name} has no band {wanted!r}. It has {_listed(info)}; raster.names= can name them")

    def _by_wavelength(self, info: RasterInfo, nm: float) -> Band:
        known = [(abs(b.wavelength_nm - nm), b) for b in info.bands if b.wavelength_nm is not None]
        if not known:
            raise UserError(
                f"{self.path.name} does not say its wavelengths. Give raster.names=, a sensor or a name a band"
            )
        distance, band = min(known, key=lambda pair: pair[0])
        if distance > WAVELENGTH_TOLERANCE * nm:
            raise UserError(f"{self.path.name} has no band near {nm} nm. It has {_listed(info)}")
        return band


def _listed(info: RasterInfo) -> str:
    return ", ".join(
        f"{b.index} {b.name!r}" + (f" ({b.wavelength_nm:g} nm)" if b.wavelength_nm else "") for b in info.bands
    )
