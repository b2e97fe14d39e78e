"""A raster, or a window of it, as an image of a `Sample`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsmoe.checks.ranges import PositiveReal
from rsmoe.errors import UserError
from rsmoe.geo.band_choice import band_at, band_named
from rsmoe.geo.georeference import Georeference
from rsmoe.geo.info import Band, RasterInfo, open_raster, read_info
from rsmoe.geo.opening import opened
from rsmoe.geo.pictures import require_pixels
from rsmoe.geo.stretch import SENSOR_STRETCHES, Stretch, named_stretch

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_SAMPLE_SIDE = 1024

_MOST_VALUES = 2_000_000_000
"""Of all bands that are read at once: a small file can promise more than there is memory."""


@dataclass(frozen=True, kw_only=True)
class RasterSource:
    """Bands and window of a raster file, read when needed; a `rsmoe.data.sample.Lazy` that gives (H, W, C) uint8.

    A pixel holds data where GDAL's mask says so (alpha, a mask within the file, or nodata in some but not in all bands,
    for a dark band alone is no hole) and all chosen bands are finite; elsewhere it is 0 in every band. Palettes,
    white-is-zero, few bits and orientations become what `rsmoe.data.rasters.images.load_image` says.

    Args:
        path: see `open_raster`.
        bands: in the order wanted, as numbers from 1 or as names (any case); None is all of them, alpha left out. Those
            of a palette are its red, green and blue.
        wavelengths_nm: the same by middle wavelength, see `rsmoe.geo.band_choice.band_at`.
        names: of the file's bands, where it does not have them: a sensor, or one name a band, see `rsmoe.geo.bands`.
        window: ``(left, top, width, height)`` in pixels, inside the raster; None is all of it.
        stretch: to 8 bits, a `Stretch`, a name of `SENSOR_STRETCHES`, or [low, high]. None
            takes uint8 as it is and nothing else.
        nodata: goes before the file's own.
        date_pattern: see `open_raster`.

    Raises:
        UserError: for ``bands`` and ``wavelengths_nm`` together or an unknown stretch; when read, see `open_raster`,
            and for bands that are not there, a window outside, more than `rsmoe.geo.pictures.MAX_PIXELS`, or no
            stretch where one is needed.
    """

    path: Path
    bands: tuple[int | str, ...] | None = None
    wavelengths_nm: tuple[PositiveReal, ...] | None = None
    names: str | tuple[str, ...] | None = None
    window: tuple[int, int, int, int] | None = None
    stretch: Stretch | str | Sequence[float] | None = None
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
        """(H, W, C) of the array that `read` gives."""
        info = self.info
        _, _, width, height = self.window_in(info)
        return height, width, len(self.chosen(info))

    def chosen(self, info: RasterInfo) -> tuple[Band, ...]:
        """The bands to read, in order; raises `UserError` for one that is not there."""
        if self.wavelengths_nm is not None:
            return tuple(band_at(info, nm) for nm in self.wavelengths_nm)
        if self.bands is None:
            return info.bands
        return tuple(band_named(info, name) for name in self.bands)

    def read(self) -> np.ndarray:
        """(H, W, C) uint8."""
        return self.picture()[0]

    def picture(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, C) uint8, and the (H, W) bool mask of pixels with data."""
        with opened(self.path) as file:
            return self.decode(file, self._info(file))

    def decode(self, file: DatasetReader, info: RasterInfo, *, blank: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """`picture` of a file that is open; without ``blank`` pixels without data are as stored."""
        window = self.window_in(info)
        require_pixels(window[2], window[3], str(self.path))
        stretch = self.fitted_stretch(file, info)
        stored, valid = self._load(file, info, window)
        shown = valid if blank else np.ones_like(valid)
        return self.to_uint8(stored, shown, info=info, stretch=stretch), valid

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
        if stretch is not None:
            picture = stretch.apply(stretch.values(stored, *self.calibration(info)))
        elif stored.dtype == np.uint8 and (info.bits >= 8 or info.palette):
            picture = stored.copy(order="K")
        else:
            spread = 255 / ((1 << info.bits) - 1) if info.bits < 8 and not info.palette else 1
            picture = np.nan_to_num(stored.astype(np.float32) * spread).round().clip(0, 255).astype(np.uint8)
        if info.white_is_zero and not info.palette:
            picture = 255 - picture
        if not valid.all():
            picture[~valid] = 0
        return picture

    def fitted_stretch(self, file: DatasetReader, info: RasterInfo) -> Stretch | None:
        """The stretch with its percentiles measured; None for uint8 as it is."""
        if self.stretch is None:
            if info.dtype != "uint8":
                raise UserError(
                    f"{self.path} stores {info.dtype}; say how it becomes 8 bits: raster.stretch=<name> with one of "
                    f"{', '.join(SENSOR_STRETCHES)}, or raster.stretch=[low,high] (predict; raster={{'stretch': ...}} "
                    "of model.ask; data.raster.stretch= for inspect and shard, reader: {raster: {stretch: ...}} in a "
                    "corpus to train on); or convert it: gdal_translate -ot Byte -scale in.tif out.tif"
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
        require_pixels(window[2], window[3], str(self.path))
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
            window: ``(left, top, width, height)`` of the file, upright.
            shape: (h, w) to thin the window to; None reads every pixel.
            mean: a thinned pixel is the mean of those it stands for, else one of them; indices into a palette have
                no mean.
        """
        from rasterio.enums import MaskFlags, Resampling
        from rasterio.windows import Window

        left, top, width, height = window
        if info.orientation != 1:  # the file has it another way up: its window is cut out of the whole
            require_pixels(info.width, info.height, str(self.path))
            straight = replace(info, orientation=1)
            whole = self.pixels(file, straight, (0, 0, file.width, file.height))
            y, x = np.arange(height) + top, np.arange(width) + left
            if shape is not None:
                y, x = y[np.arange(shape[0]) * height // shape[0]], x[np.arange(shape[1]) * width // shape[1]]
            stored, valid = (upright(array, info.orientation)[y[:, None], x] for array in whole)
            return stored, valid
        values = len(self.chosen(info)) * (width * height if shape is None else shape[0] * shape[1])
        if values > _MOST_VALUES:
            raise UserError(
                f"{self.path} has {len(info.bands)} bands and {values:,} values; choose bands: raster.bands=[...]"
            )
        place = Window(left, top, width, height)
        way = Resampling.average if mean and not info.palette else Resampling.nearest

        def read(indexes: list[int]) -> np.ndarray:
            size = None if shape is None else (len(indexes), *shape)
            return np.moveaxis(file.read(indexes, window=place, out_shape=size, resampling=way), 0, -1)

        chosen = [band.index for band in self.chosen(info)]
        every = [i for i, colour in zip(file.indexes, file.colorinterp, strict=True) if colour.name != "alpha"]
        raw = read(every if info.palette else chosen)
        if self.nodata is None and all(flags == [MaskFlags.all_valid] for flags in file.mask_flag_enums):
            valid = np.ones(raw.shape[:2], bool)
        elif self.nodata is None:
            valid = file.dataset_mask(window=place, out_shape=shape) > 0
        else:
            held = raw if info.palette else read(every)
            valid = ~(np.isnan(held) if np.isnan(self.nodata) else held == self.nodata).all(axis=-1)
        if not info.palette:
            if raw.dtype.kind == "f":
                valid &= np.isfinite(raw).all(axis=-1)
            return raw, valid
        table = _palette(file, every[0])[raw[..., 0]]  # (H, W, 4)
        return table[..., [index - 1 for index in chosen]], valid & (table[..., 3] > 0)


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, ...) as a file stores it -> upright, by an orientation as EXIF counts, 1 to 8."""
    if orientation > 4:
        array = array.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return array[::rows, ::columns]


def _palette(file: DatasetReader, band: int) -> np.ndarray:
    """(n, 4) uint8 red, green, blue and alpha of every value that the band may hold; black where the table ends."""
    table = np.zeros((1 << (8 * np.dtype(file.dtypes[band - 1]).itemsize), 4), np.uint8)
    table[:, 3] = 255
    colours = file.colormap(band)
    table[list(colours)] = list(colours.values())
    return table
