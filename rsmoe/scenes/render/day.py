"""The circumstances of one picture: season, sun, air and camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from rsmoe.scenes.render.palette import SEASONS


@dataclass(frozen=True, kw_only=True)
class Day:
    """Nuisance of one picture; nothing in it says what stands on the ground."""

    season: str
    snow: float
    """Share of the open ground under snow, 0-1."""
    sun_azimuth_deg: float
    sun_elevation_deg: float
    haze: float
    """Share of the light that comes from the air."""
    ambient: float
    """Share of the light that comes from the sky and reaches shadows."""
    gain: float
    contrast: float
    saturation: float
    tint: tuple[float, float, float, float]
    noise: float
    """Deviation of the sensor noise in grey levels."""
    blur: float
    """Weight of a neighbour in the point spread function."""
    wind: float
    """Strength of waves, 0-1."""
    glint: bool
    """Whether the sea mirrors the sun."""

    @property
    def sun(self) -> tuple[float, float, float]:
        """Unit vector to the sun: right, down, up."""
        azimuth, elevation = math.radians(self.sun_azimuth_deg), math.radians(self.sun_elevation_deg)
        flat = math.cos(elevation)
        return flat * math.sin(azimuth), -flat * math.cos(azimuth), math.sin(elevation)

    @staticmethod
    def draw(rng: np.random.Generator) -> Day:
        """A random day."""
        season = SEASONS[int(rng.integers(4))]
        snowy = season == "winter" and rng.random() < 0.3
        warm = rng.normal() * 0.03
        return Day(
            season=season,
            snow=float(rng.uniform(0.35, 0.8)) if snowy else 0.0,
            sun_azimuth_deg=float(rng.uniform(0, 360)),
            sun_elevation_deg=float(rng.uniform(28, 66)),
            haze=float(rng.beta(1.3, 5) * 0.42),
            ambient=float(rng.uniform(0.3, 0.48)),
            gain=float(rng.uniform(0.86, 1.14)),
            contrast=float(rng.uniform(0.95, 1.3)),
            saturation=float(rng.uniform(0.5, 0.9)),
            tint=(1 + warm, 1 + float(rng.normal()) * 0.015, 1 - warm, 1.0),
            noise=float(rng.uniform(1.0, 4.0)),
            blur=float(rng.uniform(0.02, 0.13)),
            wind=float(rng.uniform(0.1, 1.0)),
            glint=bool(rng.random() < 0.4),
        )

    @staticmethod
    def draw_pair(rng: np.random.Generator) -> tuple[Day, Day]:
        """Two days on which one place is compared, as such pictures are chosen: same hour, no snow.

        The satellite comes back at the same local time, so the sun's azimuth differs by 30 degrees at most; season,
        elevation, air, camera and wind are those of two random days.
        """
        first, second = (replace(Day.draw(rng), snow=0.0) for _ in range(2))
        azimuth = (first.sun_azimuth_deg + float(rng.uniform(-30, 30))) % 360
        return first, replace(second, sun_azimuth_deg=azimuth)
