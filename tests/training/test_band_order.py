"""Rasters of a run whose bands are named: what a pretrained encoder would misread is refused before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from support.runs import Listed

from rsmoe.data.corpus import Corpus
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError
from rsmoe.geo.align import align
from rsmoe.geo.raster import RasterSource
from rsmoe.training.band_order import check_band_order


def raster(path: Path, *names: str) -> Path:
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": len(names), "dtype": "uint8"}
    profile |= {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    profile["photometric"] = "minisblack"  # else a fourth band is alpha
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.zeros((len(names), 8, 8), np.uint8))
        file.descriptions = names
    return path


def corpus_of(image: Path | np.ndarray | Lazy) -> Corpus:
    sample = Sample(id="0", images=(image,), instruction="?", responses=("!",), task="vqa", source="hand")
    return Corpus(train={"mine": Listed([sample])}, val={}, test={"none": Listed([])})


def test_bands_are_read_as_red_green_blue_or_not_at_all(tmp_path: Path) -> None:
    swir = raster(tmp_path / "swir.tif", "swir1", "nir", "red", "green")
    said = r"swir.tif of the data set 'mine' is read as swir1, nir, red, green: a pretrained encoder expects red, green"
    for image in (swir, RasterSource(path=swir), align(RasterSource(path=swir), RasterSource(path=swir))[0]):
        with pytest.raises(UserError, match=said):
            check_band_order(corpus_of(image))
    with pytest.raises(UserError, match="is read as nir, red, green:"):
        check_band_order(corpus_of(RasterSource(path=swir, bands=("nir", "red", "green"))))


def test_what_is_in_order_or_says_nothing_passes(tmp_path: Path) -> None:
    good = raster(tmp_path / "good.tif", "Red", "Green", "Blue", "nir")
    turned = raster(tmp_path / "turned.tif", "blue", "green", "red")
    images = [good, RasterSource(path=turned, bands=("red", "green", "blue")), np.zeros((4, 4, 3), np.uint8)]
    for image in images:
        check_band_order(corpus_of(image))
