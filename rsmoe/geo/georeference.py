"""Where a picture lies on the earth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rsmoe.errors import UserError
from rsmoe.geo.failures import gdal_failures

if TYPE_CHECKING:
    from rasterio.crs import CRS

WGS84 = "EPSG:4326"
"""CRS of longitudes and latitudes in degrees."""


@dataclass(frozen=True)
class Georeference:
    """A grid of pixels in a coordinate reference system (CRS). Plain values: picklable, and json after `asdict`.

    Args:
        crs: "EPSG:32617", or WKT where the CRS has no code.
        transform: ``(a, b, c, d, e, f)``: map x = a col + b row + c, map y = d col + e row + f, which is the order of
            rasterio and affine, not the one of GDAL.
        width, height: of the grid, in pixels.

    Raises:
        UserError: for another number of coefficients, a transform without an inverse, or an empty grid.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    def __post_init__(self) -> None:
        if len(self.transform) != 6 or not np.isfinite(self.transform).all() or not self._determinant():
            raise UserError(
                f"expected six numbers (a, b, c, d, e, f) with an inverse as transform, got {self.transform}"
            )
        if not self.crs or self.width < 1 or self.height < 1:
            raise UserError(
                f"crs={self.crs!r}, width={self.width}, height={self.height}: expected a CRS and a size >= 1"
            )

    def to_map(self, points_px: np.ndarray) -> np.ndarray:
        """(n, 2) pixels -> (n, 2) map coordinates."""
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(points_px, np.float64).reshape(-1, 2).T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    def to_pixel(self, points_map: np.ndarray) -> np.ndarray:
        """(n, 2) map coordinates -> (n, 2) pixels, also outside the grid."""
        a, b, c, d, e, f = self.transform
        x, y = (np.asarray(points_map, np.float64).reshape(-1, 2) - (c, f)).T
        return np.stack([e * x - b * y, a * y - d * x], axis=1) / self._determinant()

    def to_lonlat(self, points_px: np.ndarray) -> np.ndarray:
        """(n, 2) pixels -> (n, 2) longitude and latitude in degrees on WGS 84, as GeoJSON wants them.

        Raises:
            UserError: for a CRS that PROJ does not know.
        """
        return project(self.to_map(points_px), self.crs, WGS84)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``left bottom right top`` of the grid, in map units."""
        corners = self.to_map(self.outline())
        left, bottom = corners.min(axis=0).tolist()
        right, top = corners.max(axis=0).tolist()
        return left, bottom, right, top

    @property
    def gsd_m(self) -> float:
        """Side in metres of the middle pixel: the root of the area that it covers on the ground.

        On the ground, not on the map: the metres of Web Mercator (EPSG:3857) are too long by 1 / cos(latitude),
        degrees get shorter towards the poles, feet are feet.

        Raises:
            UserError: for a CRS that PROJ does not know or that lies nowhere on the earth, or a middle pixel outside
                of the area where it is defined.
        """
        (ax, ay), (bx, by) = self._pixel_m()
        side = float(abs(ax * by - ay * bx) ** 0.5)
        if not side:
            raise UserError(f"a pixel of CRS {self.crs[:80]!r} covers no ground in the middle of the picture")
        return side

    @property
    def sides_m(self) -> tuple[float, float]:
        """Width and height in metres of the middle pixel on the ground: they differ where degrees are its unit.

        Raises:
            UserError: as `gsd_m`.
        """
        right, down = self._pixel_m()
        return float(np.hypot(*right)), float(np.hypot(*down))

    def subwindow(self, left: int, top: int, width: int, height: int) -> Georeference:
        """The grid of a window, which may reach over the edge; pixels of this grid."""
        a, b, _, d, e, _ = self.transform
        ((c, f),) = self.to_map(np.array([[left, top]])).tolist()
        return replace(self, transform=(a, b, c, d, e, f), width=width, height=height)

    def resized(self, width: int, height: int) -> Georeference:
        """The same ground with another number of pixels."""
        a, b, c, d, e, f = self.transform
        x, y = self.width / width, self.height / height
        return replace(self, transform=(a * x, b * y, c, d * x, e * y, f), width=width, height=height)

    def outline(self, steps: int = 1) -> np.ndarray:
        """(4 steps, 2) pixels along the border: an edge that is straight here is curved in another CRS."""
        t = np.arange(steps) / steps
        ring = np.concatenate(
            [np.stack(side, axis=1) for side in ((t, 0 * t), (0 * t + 1, t), (1 - t, 0 * t + 1), (0 * t, 1 - t))]
        )
        return ring * (self.width, self.height)

    def _pixel_m(self) -> tuple[np.ndarray, np.ndarray]:
        """One column, and one row, further from the middle pixel: (2,) metres each, on a plane that touches there."""
        x, y = self.width / 2, self.height / 2
        (lon, lat), *_ = self.to_lonlat(np.array([[x, y]])).tolist()
        local = f"+proj=laea +lat_0={lat!r} +lon_0={lon!r} +datum=WGS84 +units=m"  # equal areas, undistorted here
        pixel = self.to_map(np.array([[x - 0.5, y - 0.5], [x + 0.5, y - 0.5], [x - 0.5, y + 0.5]]))
        origin, right, down = project(pixel, self.crs, local)
        return right - origin, down - origin

    def _determinant(self) -> float:
        a, b, _, d, e, _ = self.transform
        return a * e - b * d


def project(points: np.ndarray, source: str, target: str) -> np.ndarray:
    """(n, 2) ``x y`` from one CRS to another; longitude before latitude in both.

    Raises:
        UserError: for a CRS that PROJ does not know or that lies nowhere on the earth (local, engineering, vertical),
            or points that it cannot place.
    """
    from rasterio.warp import transform

    points = np.asarray(points, np.float64)
    with gdal_failures(f"cannot go from CRS {source[:80]!r} to {target[:80]!r}"):
        for crs in (source, target):
            if not on_earth(crs):
                raise UserError(f"CRS {crs[:80]!r} is a local or vertical system, which lies nowhere on the earth")
        moved = np.stack(transform(source, target, points[:, 0], points[:, 1]), axis=1)
    if not np.isfinite(moved).all():
        raise UserError(f"points of CRS {source[:80]!r} lie outside the area where {target[:80]!r} is defined")
    return moved


def on_earth(crs: str) -> bool:
    """Whether a CRS is geographic or projected. PROJ reads others too: the heights of a vertical one as latitudes."""
    return _parsed(crs).is_projected or geographic(crs)


def geographic(crs: str) -> bool:
    """Whether coordinates are longitudes and latitudes; `UserError` for a CRS that PROJ does not know."""
    return bool(_parsed(crs).is_geographic)


@lru_cache(maxsize=64)
def _parsed(crs: str) -> CRS:
    from rasterio.crs import CRS

    with gdal_failures(f"PROJ does not know the CRS {crs[:80]!r}"):
        return CRS.from_user_input(crs)
