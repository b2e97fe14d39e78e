"""Bands of a run's pictures, held against the order that pretrained encoders read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsmoe.data.corpus import Corpus
from rsmoe.geo.align import AlignedRaster
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.info import open_raster
from rsmoe.geo.raster import RasterSource
from rsmoe.vision.inputs import check_rgb


def check_band_order(corpus: Corpus) -> None:
    """Looks at the first picture of every data set that is a raster with names for its bands.

    Raises:
        UserError: it is not read as red, green, blue, and what else there is.
    """
    for datasets in (corpus.train, corpus.val, corpus.test):
        for name, dataset in datasets.items():
            if len(dataset):  # type: ignore[arg-type]
                image: Any = dataset[0].images[0]
                if isinstance(image, AlignedRaster):
                    image = image.source
                check_rgb(_names(image), where=f"{getattr(image, 'path', image)} of the data set {name!r}")


def _names(image: Any) -> list[str]:
    """Names of the bands of a raster, in the order in which they are read; [] of any other picture."""
    if isinstance(image, RasterSource):
        return [band.name for band in image.chosen(image.info)]
    if isinstance(image, Path) and raster_drivers(image):
        return [band.name for band in open_raster(image).bands]
    return []
