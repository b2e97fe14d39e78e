"""Meridians and parallels over a picture, against pyproj's own transformation through rasterio."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio import warp

from rsmoe.geo.georeference import Georeference
from rsmoe.web.graticule import graticule


def degrees(label: str) -> float:
    number, side = label.split("° ")
    return float(number) * (-1 if side in "WS" else 1)


@pytest.mark.parametrize(
    ("crs", "origin", "pixel", "size"),
    [
        ("EPSG:32632", (690_000, 5_335_000), 0.7, 256),
        ("EPSG:32717", (500_000, 9_100_000), 30, 3000),  # south, west
        ("EPSG:4326", (-75.0, -8.0), 0.001, 500),
        ("EPSG:32601", (350_000, 7_000_000), 100, 2000),  # across the antimeridian
        ("EPSG:3857", (1_000_000, 6_000_000), 5, 64),
    ],
)
def test_lines_lie_where_their_labels_say(crs: str, origin: tuple[float, float], pixel: float, size: int) -> None:
    place = Georeference(crs=crs, transform=(pixel, 0, origin[0], 0, -pixel, origin[1]), width=size, height=size // 2)
    found = graticule(place)
    assert found is not None
    for sides in ("EW", "NS"):
        lines = [line for line in found["lines"] if line["label"][-1] in sides]
        assert 1 <= len(lines) <= 6
        for line in lines:
            x, y = place.to_map(np.array(line["px"])).T
            there = warp.transform(crs, "EPSG:4326", x, y)[0 if sides == "EW" else 1]
            off = (np.array(there) - degrees(line["label"]) + 180) % 360 - 180
            tolerance = 0.1 * place.gsd_m / 111_000 / np.cos(np.radians(70)) + 1e-6  # lines are written to 0.1 px
            assert np.abs(off).max() < tolerance
        step = np.diff(sorted(degrees(line["label"]) % 360 for line in lines))
        assert np.allclose(step, step[:1] if len(step) else step)
    grid = np.array(found["lonlat"]).reshape(9, 9, 2)
    corner = place.to_lonlat(np.array([[0, 0], [size, size // 2]]))
    np.testing.assert_allclose(grid[0, 0] % 360, corner[0] % 360, atol=1e-6)
    np.testing.assert_allclose(grid[-1, -1] % 360, corner[1] % 360, atol=1e-6)


def test_what_lies_nowhere_has_none() -> None:
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    assert graticule(None) is None
    assert graticule(Georeference(crs=local, transform=(1, 0, 0, 0, -1, 0), width=9, height=9)) is None
