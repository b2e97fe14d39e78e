"""A generated scene and its exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LAND_COVER = ("bare land", "grass", "forest", "water", "farmland", "sand", "road", "building", "paved", "rock")
"""Names of the values in `Scene.semantic`."""


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One countable thing on the ground, at least partly inside the picture."""

    category: str
    """Singular noun: "airplane", "ship", "storage tank", "house" ..."""
    color: str
    """Plain colour word, or "" where a colour says nothing."""
    box_px: tuple[float, float, float, float]
    """Horizontal box x1, y1, x2, y2 of the visible part."""
    obb_px: tuple[tuple[float, float], ...]
    """Four corners (x, y) of the oriented box, clockwise in image axes (y down), starting at its front left."""
    instance: int
    """Value of this object in `Scene.instances`."""
    area_m2: float
    """Ground area of the visible part."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """H = W = size in pixels, C bands (red, green, blue and, with four, near infrared)."""

    scene_class: str
    image: np.ndarray
    """(H, W, C) uint8."""
    semantic: np.ndarray
    """(H, W) uint8 index into `LAND_COVER`."""
    instances: np.ndarray
    """(H, W) uint16, 0 where there is no object."""
    objects: tuple[SceneObject, ...]
    gsd_m: float
    """Metres a pixel."""
    season: str
    """ "spring" | "summer" | "autumn" | "winter"."""
    sun_azimuth_deg: float
    """Clockwise from north (up); shadows point away from it."""
    sun_elevation_deg: float
    urban: bool
    """More built-up (building, paved, road) than a fifth of the ground."""

    @property
    def meta(self) -> dict[str, Any]:
        """What goes to every sample on this scene."""
        return {"gsd_m": self.gsd_m, "scene_class": self.scene_class, "season": self.season, "urban": self.urban}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that differs between two dates."""

    action: str
    """ "built" | "demolished" | "flooded" | "drained" | "cleared" | "planted"."""
    category: str
    """ "house", "road", "forest" ...: what appeared or vanished."""
    box_px: tuple[float, float, float, float]
    mask_value: int
    """Value of this change in `ScenePair.change_mask`."""
    area_px: int
    """Pixels of the mask that are this change's; at least `generator.VISIBLE_PX`."""


@dataclass(frozen=True, kw_only=True)
class ScenePair:
    """Two dates of one place; nuisance (light, season, shift, noise) is on every pair, change on half of them."""

    before: Scene
    after: Scene
    changes: tuple[Change, ...]
    """Empty for an unchanged pair."""
    change_mask: np.ndarray
    """(H, W) uint8: 0 no change, 1 building, 2 road, 3 water, 4 vegetation, 5 other object."""
    vanished: np.ndarray
    """(H, W) bool: whether what changed there was there on the first date only."""
    shift_px: tuple[float, float]
    """Misregistration (x, y) of the second date."""
