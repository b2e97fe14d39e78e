"""What can be said about a scene: counts, places, surroundings and shares, all measured on its ground truth."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rsmoe.data.change.cells import cell_at
from rsmoe.scenes.class_map import class_map
from rsmoe.scenes.scene import LAND_COVER, Scene, SceneObject

_ROUND = ("storage tank", "roundabout", "baseball diamond")
"""Categories whose oriented box says nothing about a direction."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """All objects of one category."""

    category: str
    members: tuple[SceneObject, ...]
    color: str
    """Colour of all members, "" where they differ."""
    cell: int | None
    """Cell of the 3 x 3 grid (index in `phrases.CELLS`) that holds the centres of all members."""
    side: str
    """ "top", "bottom", "left" or "right" half that clearly holds the centres of all members, or ""."""
    aligned: bool
    """At least four members, all parallel or at right angles within 8 degrees."""
    surroundings: dict[str, float]
    """Land cover -> share of the narrow ring around the members."""

    @property
    def count(self) -> int:
        """Number of members."""
        return len(self.members)


class SceneFacts:
    """Measurements of one scene, each made when it is first asked for."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.height, self.width = scene.semantic.shape

    @cached_property
    def counts(self) -> Counter[str]:
        """Category -> number of objects."""
        return Counter(o.category for o in self.scene.objects)

    @cached_property
    def groups(self) -> dict[str, Group]:
        """Category -> group, the one with the largest ground area first."""
        members: dict[str, list[SceneObject]] = defaultdict(list)
        for thing in self.scene.objects:
            members[thing.category].append(thing)
        groups = [self._group(category, tuple(things)) for category, things in members.items()]
        groups.sort(key=lambda g: -sum(o.area_m2 for o in g.members))
        return {g.category: g for g in groups}

    @cached_property
    def class_map(self) -> np.ndarray:
        """(H, W) uint8, see `rsmoe.scenes.class_map.class_map`; all samples on the scene share it."""
        return class_map(self.scene)

    @cached_property
    def cover(self) -> dict[str, float]:
        """Land cover -> share of the picture, 0 to 1, largest first; what does not occur is left out."""
        return _shares(self.scene.semantic.ravel())

    @cached_property
    def road_angle_deg(self) -> float | None:
        """Direction of the road, 0 = left to right, 90 = bottom to top; None without one clear direction.

        Principal axis of all road pixels: those of one straight road keep within 6 % of the picture of their axis
        (root mean square) and cross three quarters of the picture.
        """
        rows, columns = np.nonzero(self.scene.semantic == LAND_COVER.index("road"))
        if rows.size < 0.02 * self.scene.semantic.size:
            return None
        points = np.stack([columns - columns.mean(), rows.mean() - rows])
        values, vectors = np.linalg.eigh(points @ points.T / rows.size)
        if values[0] > (0.06 * self.width) ** 2 or np.ptp(vectors[:, 1] @ points) < 0.75 * self.width:
            return None
        return float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180)

    def share(self, cover: str) -> float:
        """Share of the picture under one land cover."""
        return self.cover.get(cover, 0.0)

    def cell(self, thing: SceneObject) -> int:
        """Index in `phrases.CELLS` of the centre of an object's visible box."""
        x, y = center(thing)
        return cell_at(x, y, self.width, self.height)

    def clear_cell(self, thing: SceneObject) -> int | None:
        """The cell, if the centre keeps a margin of 3 % of the picture from the cell's borders."""
        x, y = center(thing)
        margins = [abs(v / n - third) for v, n in ((x, self.width), (y, self.height)) for third in (1 / 3, 2 / 3)]
        return self.cell(thing) if min(margins) > 0.03 else None

    def borders(self, cover: str, other: str) -> bool:
        """Whether two land covers share a border at least a tenth of the picture long."""
        first, second = (self.scene.semantic == LAND_COVER.index(name) for name in (cover, other))
        across = (first[:, 1:] & second[:, :-1]).sum() + (first[:, :-1] & second[:, 1:]).sum()
        down = (first[1:] & second[:-1]).sum() + (first[:-1] & second[1:]).sum()
        return bool(across + down >= 0.1 * self.width)

    def around(self, cover: str) -> dict[str, float]:
        """Other land covers -> share of the border with ``cover``, largest first; empty where that has no border."""
        mask = self.scene.semantic == LAND_COVER.index(cover)
        beyond = []
        for near, far in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
            crossed = mask[near] != mask[far]
            beyond.append(np.where(mask[near], self.scene.semantic[far], self.scene.semantic[near])[crossed])
        return _shares(np.concatenate(beyond))

    def distance_px(self, thing: SceneObject, cover: str) -> float:
        """Pixels from the centre of an object to the nearest pixel of a land cover; infinite if there is none."""
        rows, columns = self._cover_pixels(cover)
        if rows.size == 0:
            return math.inf
        x, y = center(thing)
        return float(np.sqrt(((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2).min()))

    def _cover_pixels(self, cover: str) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = np.nonzero(self.scene.semantic == LAND_COVER.index(cover))
        return rows, columns

    def _group(self, category: str, members: tuple[SceneObject, ...]) -> Group:
        colors = {o.color for o in members}
        cells = {self.cell(o) for o in members}
        angles = [4 * math.atan2(o.obb_px[1][1] - o.obb_px[0][1], o.obb_px[1][0] - o.obb_px[0][0]) for o in members]
        # Four times the angle makes parallel and perpendicular the same direction on the circle.
        spread = math.hypot(sum(map(math.cos, angles)), sum(map(math.sin, angles))) / len(members)
        return Group(
            category=category,
            members=members,
            color=colors.pop() if len(colors) == 1 else "",
            cell=cells.pop() if len(cells) == 1 else None,
            side=self._side(members),
            aligned=len(members) >= 4 and category not in _ROUND and spread > math.cos(4 * math.radians(8)),
            surroundings=self.surroundings(members),
        )

    def _side(self, members: tuple[SceneObject, ...]) -> str:
        xs, ys = zip(*(center(o) for o in members), strict=True)
        found = {
            "top": max(ys) < 0.45 * self.height,
            "bottom": min(ys) > 0.55 * self.height,
            "left": max(xs) < 0.45 * self.width,
            "right": min(xs) > 0.55 * self.width,
        }
        return next((side for side, holds in found.items() if holds), "")

    def surroundings(self, members: tuple[SceneObject, ...]) -> dict[str, float]:
        """Land cover in a ring of 3 % of the picture around each box, own pixels left out."""
        ring = max(2, round(0.03 * self.width))
        around = []
        for thing in members:
            x1, y1, x2, y2 = (int(v) for v in thing.box_px)
            window = np.s_[max(0, y1 - ring) : y2 + ring + 1, max(0, x1 - ring) : x2 + ring + 1]
            own = self.scene.instances[window] == thing.instance
            around.append(self.scene.semantic[window][~own])
        return _shares(np.concatenate(around))


def _shares(values: np.ndarray) -> dict[str, float]:
    """Land cover -> share of the values, largest first."""
    counts = np.bincount(values, minlength=len(LAND_COVER)) / max(1, values.size)
    pairs = sorted(zip(LAND_COVER, counts.tolist(), strict=True), key=lambda p: -p[1])
    return {name: share for name, share in pairs if share > 0}


def center(thing: SceneObject) -> tuple[float, float]:
    """Centre (x, y) of an object's visible box, pixels."""
    x1, y1, x2, y2 = thing.box_px
    return (x1 + x2) / 2, (y1 + y2) / 2


def direction(thing: SceneObject, other: SceneObject, width: int) -> str:
    """Where ``thing`` lies seen from ``other``: "left", "right", "above", "below", or "" where that is not clear.

    Clear means: centres at least 10 % of the picture's ``width`` (pixels) apart, within 27 degrees of an axis.
    """
    (x, y), (u, v) = center(thing), center(other)
    across, down = x - u, y - v
    if math.hypot(across, down) < 0.1 * width:
        return ""
    if abs(across) > 2 * abs(down):
        return "left" if across < 0 else "right"
    if abs(down) > 2 * abs(across):
        return "above" if down < 0 else "below"
    return ""


def gap_px(thing: SceneObject, other: SceneObject) -> float:
    """Distance in pixels between the horizontal boxes of two objects, 0 where they touch or overlap."""
    a, b = thing.box_px, other.box_px
    across = max(a[0] - b[2], b[0] - a[2], 0.0)
    down = max(a[1] - b[3], b[1] - a[3], 0.0)
    return math.hypot(across, down)
