"""Samples whose pictures are GeoTIFFs: where they lie, and how those are read that are no 8-bit RGB."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from rsmoe.data.sample import Sample
from rsmoe.errors import unknown_name
from rsmoe.geo import Georeference, RasterSource

_TIFF = (".tif", ".tiff")
_PLAIN = {"1", "L", "P", "RGB"}


class RasterImages:
    """Puts a `RasterSource` where a TIFF needs one, and the georeference of the first image; no pixel is decoded.

    A TIFF that Pillow opens with 8 bits and at most three bands stays a path. Any other, or every one when there are
    ``options``, becomes a `RasterSource` with them: all bands by default, and an error when it is read that says which
    stretch to declare if its values are no bytes. Other files stay as they are. What a header says is kept, for
    there may be a hundred questions to a picture.

    Args:
        options: keywords of `RasterSource` but ``path`` and ``window``: ``{"bands": [4, 3, 2], "stretch": "unit"}``.

    Raises:
        UserError: for a keyword that `RasterSource` does not have; in a call, for a file that is no raster.
    """

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        known = sorted(set(inspect.signature(RasterSource).parameters) - {"path", "window"})
        for key in options or {}:
            if key not in known:
                raise unknown_name("option of rasters", key, known)
        self._options = dict(options or {})
        self._sources: dict[Path, tuple[Path | RasterSource, Georeference | None]] = {}

    def __call__(self, sample: Sample) -> Sample:
        """The same sample, its TIFFs as said above."""
        if not any(isinstance(image, Path) and image.suffix.lower() in _TIFF for image in sample.images):
            return sample
        found = [self._source(image) if isinstance(image, Path) else (image, None) for image in sample.images]
        return replace(sample, images=tuple(image for image, _ in found), georeference=found[0][1])

    def _source(self, path: Path) -> tuple[Path | RasterSource, Georeference | None]:
        if path.suffix.lower() not in _TIFF:
            return path, None
        if path not in self._sources:
            raster = RasterSource(path=path, **self._options)
            self._sources[path] = (path if not self._options and _is_plain(path) else raster, raster.georeference)
        return self._sources[path]


def _is_plain(path: Path) -> bool:
    """Whether Pillow reads this file as it is: 8 bits, no more than three bands."""
    try:
        with Image.open(path) as image:
            return image.mode in _PLAIN
    except (UnidentifiedImageError, OSError):
        return False
