"""Things of a large map, strip by strip, as those of the whole map."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.features import rasterize
from scipy import ndimage

from rsmoe.geo.polygons import map_polygons
from rsmoe.geo.strips import StripMap
from rsmoe.geo.things import large_things, mean_inside


def noise(seed: int, shape: tuple[int, int] = (120, 70)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    values = np.where(smooth > 0.05, rng.integers(51, 101, shape), 0).astype(np.uint8)
    values[:, 60:62] = 255  # no data
    return values


@pytest.mark.parametrize("least", [1, 9, 40])
@pytest.mark.parametrize("pixels", [70, 500, 10**6])
def test_small_regions_go_and_large_ones_stay_whole(least: int, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise(least)
    labels, count = ndimage.label((values > 0) & (values < 255))
    sizes = np.bincount(labels.ravel())
    expected = (sizes >= least)[labels] & (labels > 0)
    assert count > 20 and (least == 1 or (sizes < least).any())
    monkeypatch.setattr("rsmoe.geo.things._STRIP_PIXELS", pixels)
    mask, kept = large_things(values, least=least)
    assert isinstance(mask, StripMap) and mask.dtype == bool
    np.testing.assert_array_equal(np.asarray(mask), expected)
    np.testing.assert_array_equal(np.asarray(kept), np.where(expected, values, 0))


@pytest.mark.parametrize("pixels", [50, 10**6])
def test_the_mean_inside_is_that_of_the_region_alone(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise(3)
    mask, kept = large_things(values, least=1)
    monkeypatch.setattr("rsmoe.geo.things._STRIP_PIXELS", pixels)
    for _, rings in map_polygons(mask, skip=255):
        shape = {"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]}
        inside = rasterize([shape], out_shape=values.shape) > 0
        assert mean_inside(kept, rings) == pytest.approx(values[inside].mean())
