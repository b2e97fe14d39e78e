"""Samples whose pictures are rasters: where they lie, and how those are read of which something is declared."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsmoe.data.sample import Sample
from rsmoe.errors import require_known
from rsmoe.geo import Georeference, RasterSource
from rsmoe.geo.file_format import raster_drivers


class RasterImages:
    """Adds the georeference of the first image, and puts a `RasterSource` for rasters when there are ``options``; no
    pixel is decoded.

    Rasters are TIFF, JPEG 2000, ERDAS and ENVI files and PNG of 16 bits, see `rsmoe.geo.file_format`: each is
    read with the options, a file of one band three times unless they choose bands. Without options, and of other files,
    the path stays, which `rsmoe.data.rasters.images.load_image` reads. What a header says is kept, for there may be a
    hundred questions to a picture.

    Args:
        options: keywords of `RasterSource` but ``path`` and ``window``: ``{"bands": [4, 3, 2], "stretch": "unit"}``.
            What is None is not declared.

    Raises:
        UserError: for a keyword that `RasterSource` does not have; in a call, for a file that is no raster.
    """

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        known = sorted(set(inspect.signature(RasterSource).parameters) - {"path", "window"})
        require_known("option of rasters", *(options or {}), known=known)
        self._options = {key: value for key, value in (options or {}).items() if value is not None}
        self._sources: dict[Path, tuple[Path | RasterSource, Georeference | None]] = {}

    def __call__(self, sample: Sample) -> Sample:
        """The same sample, its rasters as said above."""
        found = [self._source(image) if isinstance(image, Path) else (image, None) for image in sample.images]
        if all(image is old for (image, _), old in zip(found, sample.images, strict=True)) and found[0][1] is None:
            return sample
        return replace(sample, images=tuple(image for image, _ in found), georeference=found[0][1])

    def _source(self, path: Path) -> tuple[Path | RasterSource, Georeference | None]:
        if path not in self._sources:
            self._sources[path] = self._opened(path) if raster_drivers(path) else (path, None)
        return self._sources[path]

    def _opened(self, path: Path) -> tuple[Path | RasterSource, Georeference | None]:
        raster = RasterSource(path=path, **self._options)
        info = raster.info
        if not self._options:
            return path, info.georeference
        if raster.bands is None and raster.wavelengths_nm is None and len(info.bands) == 1:
            raster = replace(raster, bands=(1, 1, 1))
        return raster, info.georeference
