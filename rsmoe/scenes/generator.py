"""`SceneGenerator`: an endless, balanced, reproducible row of pictures of places that do not exist."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rsmoe.errors import UserError
from rsmoe.scenes.changed_pairs import draw_changes, read_changes
from rsmoe.scenes.place import country, towns, transport, water
from rsmoe.scenes.place.geometry import touches
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.render.day import Day
from rsmoe.scenes.render.noise import NoiseWindow
from rsmoe.scenes.render.render import Picture, render
from rsmoe.scenes.scene import LAND_COVER, Change, Scene, ScenePair
from rsmoe.scenes.truth import read_objects

_LAYOUTS: dict[str, tuple[Callable[[Place], None], float, float]] = {
    "airport": (transport.airport, 0.7, 1.3),
    "beach": (water.beach, 0.4, 1.4),
    "bridge": (transport.bridge_scene, 0.5, 1.2),
    "crossroads": (towns.crossroads, 0.3, 0.5),
    "desert": (country.desert, 0.5, 3.0),
    "farmland": (country.farmland, 0.8, 3.5),
    "forest": (country.forest, 0.4, 1.8),
    "harbor": (transport.harbor, 0.5, 1.3),
    "industrial area": (towns.industrial, 0.5, 0.9),
    "lake": (water.lake, 0.6, 3.0),
    "mountain": (country.mountain, 2.0, 5.0),
    "parking lot": (towns.parking_lot, 0.3, 0.36),
    "residential area": (towns.residential, 0.3, 0.55),
    "river": (water.river, 0.6, 4.0),
    "solar farm": (transport.solar_farm, 0.4, 0.9),
    "sports ground": (towns.sports_ground, 0.4, 0.75),
    "storage tanks": (transport.storage_tanks, 0.4, 0.9),
}
"""Layout and range of metres a pixel at 256 px; smaller pictures see less ground at a coarser gsd."""

SCENE_CLASSES: tuple[str, ...] = tuple(_LAYOUTS)
"""Names of the scene classes, all equally frequent."""

OBJECT_CLASSES: tuple[str, ...] = (
    "airplane", "baseball diamond", "basketball court", "boat", "bridge", "building", "car", "football field",
    "greenhouse", "house", "pier", "roundabout", "runway", "ship", "solar array", "storage tank", "swimming pool",
    "tennis court", "truck", "warehouse",
)  # fmt: skip
"""Every `SceneObject.category`."""

GENERATOR_VERSION = "5"
"""Changes whenever the same numbers would give other pictures or other ground truth."""

_SIGNS: dict[str, frozenset[str]] = {
    "harbor": frozenset({"pier"}),
    "industrial area": frozenset({"building", "warehouse"}),
    "residential area": frozenset({"house"}),
    "solar farm": frozenset({"solar array"}),
    "sports ground": frozenset({"baseball diamond", "basketball court", "football field", "tennis court"}),
    "storage tanks": frozenset({"storage tank"}),
}
"""Things without which nobody could name the scene: one of them stands near the middle of the picture."""

BANDS = (3, 4)
"""Numbers of bands that a scene can have: RGB, and RGB with near infrared."""
VISIBLE_PX = 24
"""Pixels that a change covers at least: nobody would see a smaller one."""
VISIBLE_LEVELS = 14.0
"""Grey levels by which its pixels differ on the mean within one day: a track over bare soil is not seen to be new."""
PAIR_CLASSES: tuple[str, ...] = (
    *SCENE_CLASSES, *["residential area"] * 5, "industrial area", "airport", "farmland", "desert"
)  # fmt: skip
"""Classes of the places of pairs: surveys of change are made where people build."""
_SUBURB = (0.5, 0.8)
"""Metres a pixel at 256 px of a residential area in pairs, about LEVIR-CC's."""
_VISITS = 10_000
"""Streams of randomness above this number are other visits of a scene; those of pairs are below."""
_BUILT = tuple(LAND_COVER.index(name) for name in ("building", "paved", "road"))


class SceneGenerator:
    """Scenes and bi-temporal pairs by number: the same (seed, size, bands, index) gives the same bytes, in any order.

    Every block of ``len(SCENE_CLASSES)`` consecutive scenes holds each class once, in random order; every block of
    ``2 * len(PAIR_CLASSES)`` pairs holds each of those once changed and once unchanged.

    Args:
        size_px: side of the pictures, 32 to 1024.
        bands: 3 (red, green, blue) or 4 (and near infrared); the first three are the same either way.
        seed: the world.

    Raises:
        UserError: for a size, band count or seed that cannot be drawn.
    """

    def __init__(self, *, size_px: int, bands: int = 3, seed: int = 0) -> None:
        if not 32 <= size_px <= 1024:
            raise UserError(
                f"scenes of size_px={size_px} cannot be drawn. Expected 32 to 1024: type size_px=64 or 256."
            )
        if bands not in BANDS:
            raise UserError(f"scenes with bands={bands} cannot be drawn. Type bands=3 (RGB) or bands=4 (RGB + NIR).")
        if seed < 0:
            raise UserError(f"seed={seed} is negative. Type a seed of 0 or more.")
        self.size_px, self.bands, self.seed = size_px, bands, seed
        self._margin = 4 + size_px // 32
        self._sub = 3 if size_px <= 128 else 2

    def scene(self, index: int, *, visit: int = 0) -> Scene:
        """Scene number ``index`` (0 and up).

        Args:
            visit: 0 and up. Another one is another flight over the same place: season, light, air, camera and vehicles
                are those of another day, and the heading differs by 6 to 12 degrees, so that no pixel comes again.
        """
        streams = self._streams(index, kind=0)
        other = self._streams(index, kind=_VISITS + visit) if visit else streams
        number = self._turn(index, len(SCENE_CLASSES), kind=0)
        name = SCENE_CLASSES[number]
        place = self._place(name, streams[0], _LAYOUTS[name][1:])
        if visit:
            place.turn_by(float(other[5].choice((-1, 1)) * np.deg2rad(other[5].uniform(6, 12))))
        standing = _with_traffic(place, place.standing, other[1])
        day = Day.draw(other[2])
        window = NoiseWindow(rng=other[3], size=self._canvas)
        picture = self._render(place, standing, day, window, other[4])
        return self._crop(name, place, picture, day, (0, 0))

    def pair(self, index: int) -> ScenePair:
        """Pair number ``index`` (0 and up): one place on two days.

        Light, season, haze, noise, misregistration and vehicles (cars, trucks, airplanes, ships, boats) differ between
        the days of every pair; they are nuisance, never change, and are drawn alike whether the pair is changed or not.
        See `Day.draw_pair` for what two days have in common. Whatever changes covers `VISIBLE_PX` pixels or more and
        differs by `VISIBLE_LEVELS`, on either day, from what that day would have shown of the other state: a changed
        pair where it does not is drawn anew, place and days. The change mask is in the frame of ``before``; ``after``
        shows the ground moved by ``shift_px``.
        """
        number = self._turn(index, 2 * len(PAIR_CLASSES), kind=1)
        name, changed = PAIR_CLASSES[number // 2], number % 2 == 1
        finest_coarsest = _SUBURB if name == "residential area" else _LAYOUTS[name][1:]
        for attempt in range(200):  # small pictures often miss the change that was drawn
            streams = self._streams(index, kind=1 + attempt)
            place = self._place(name, streams[0], finest_coarsest)
            states = draw_changes(place, streams[5]) if changed else (list(place.standing), list(place.standing))
            days = Day.draw_pair(streams[2])
            seeds = [int(stream.integers(2**31)) for stream in (streams[1], streams[3], streams[4])]
            pictures = [self._draw_on(day, k, states[k], place, seeds) for k, day in enumerate(days)]
            # Half a pixel is the finest step that keeps image and masks of the second date in one grid.
            shift = tuple(int(v) for v in streams[6].integers(-2, 3, 2))
            inner = slice(self._margin, -self._margin)
            changes, mask, vanished = read_changes(place, states, [_inner(p, inner) for p in pictures])
            if bool(changes) != changed or any(change.area_px < VISIBLE_PX for change in changes):
                continue
            others = (self._draw_on(day, k, states[1 - k], place, seeds) for k, day in enumerate(days))
            if not changed or all(
                _shows(p.image[inner, inner], other.image[inner, inner], changes, mask)
                for p, other in zip(pictures, others, strict=True)
            ):
                break
        else:
            raise AssertionError(f"no visible change in pair {index} of {self!r}")
        before = self._crop(name, place, pictures[0], days[0], (0, 0))
        after = self._crop(name, place, pictures[1], days[1], (shift[0], shift[1]))
        return ScenePair(
            before=before, after=after, changes=changes, change_mask=mask, vanished=vanished,
            shift_px=(float(shift[0]), float(shift[1])),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"SceneGenerator(size_px={self.size_px}, bands={self.bands}, seed={self.seed})"

    @property
    def _canvas(self) -> int:
        return self.size_px + 2 * self._margin

    def _streams(self, index: int, kind: int) -> list[np.random.Generator]:
        """Independent sources of randomness for place, traffic, days, texture, sensor, change and shift."""
        if index < 0:
            raise UserError(f"scene number {index} is negative. Type an index of 0 or more.")
        children = np.random.SeedSequence([self.seed, index, kind]).spawn(7)
        return [np.random.Generator(np.random.PCG64(child)) for child in children]

    def _turn(self, index: int, count: int, kind: int) -> int:
        """Which of ``count`` kinds is due at ``index``: each once a block, shuffled."""
        block = np.random.default_rng([self.seed, 7919, kind, max(index, 0) // count])
        return int(block.permutation(count)[index % count])

    def _place(self, name: str, rng: np.random.Generator, finest_coarsest: tuple[float, float]) -> Place:
        layout, (fine, coarse) = _LAYOUTS[name][0], finest_coarsest
        zoom = (256 / self.size_px) ** 0.5
        gsd_m = fine * zoom * (coarse / fine) ** float(rng.random())
        turn = float(rng.uniform(0, 2 * np.pi))
        place = Place(rng=rng, size_px=self.size_px, gsd_m=round(min(max(gsd_m, 0.3), 10.0), 3), turn=turn)
        layout(place)
        signs = [k for k, thing in enumerate(place.things) if thing.noun in _SIGNS.get(name, ())]
        near = [k for k in signs if place.sees(*place.things[k].middle, -0.2 * place.half)]
        if near and not any(place.standing[k] for k in near):
            place.standing[near[int(rng.integers(len(near)))]] = True
        return place

    def _draw_on(self, day: Day, number: int, state: list[bool], place: Place, seeds: list[int]) -> Picture:
        """A place on the first or second day: the same traffic, texture and noise whatever else stands there."""
        traffic, texture, camera = seeds
        standing = _with_traffic(place, state, np.random.default_rng([traffic, number]))
        window = NoiseWindow(rng=np.random.default_rng(texture), size=self._canvas)
        return self._render(place, standing, day, window, np.random.default_rng([camera, number]))

    def _render(
        self, place: Place, standing: list[bool], day: Day, window: NoiseWindow, camera: np.random.Generator
    ) -> Picture:
        return render(
            place, standing, day, window=window, camera=camera, margin=self._margin, sub=self._sub, bands=self.bands
        )

    def _crop(self, name: str, place: Place, picture: Picture, day: Day, shift: tuple[int, int]) -> Scene:
        """Take the picture out of its margins, the ground moved right and down by ``shift``."""
        x, y = self._margin - shift[0], self._margin - shift[1]
        inner = (slice(y, y + self.size_px), slice(x, x + self.size_px))
        semantic = np.ascontiguousarray(picture.semantic[inner])
        instances, objects = read_objects(place, picture.things[inner])
        return Scene(
            scene_class=name,
            image=np.ascontiguousarray(picture.image[inner]),
            semantic=semantic,
            instances=instances,
            objects=objects,
            gsd_m=place.gsd_m,
            season=day.season,
            sun_azimuth_deg=day.sun_azimuth_deg,
            sun_elevation_deg=day.sun_elevation_deg,
            urban=bool(np.isin(semantic, _BUILT).mean() > 0.2),
        )


def _inner(picture: Picture, inner: slice) -> tuple[np.ndarray, np.ndarray]:
    return picture.semantic[inner, inner], picture.still_things[inner, inner]


def _shows(before: np.ndarray, after: np.ndarray, changes: tuple[Change, ...], mask: np.ndarray) -> bool:
    """Whether every change differs by `VISIBLE_LEVELS` between the two states, in two pictures of one day."""
    differs = np.abs(after[..., :3].astype(np.float32) - before[..., :3]).mean(-1)
    for change in changes:
        x1, y1, x2, y2 = (int(v) for v in change.box_px)
        own = mask[y1:y2, x1:x2] == change.mask_value
        if differs[y1:y2, x1:x2][own].mean() < VISIBLE_LEVELS:
            return False
    return True


def _with_traffic(place: Place, standing: list[bool], rng: np.random.Generator) -> list[bool]:
    """Which things stand on one day: the buildings as given, vehicles by that day's traffic (often there is none)."""
    busy: dict[str, float] = {}
    result = list(standing)
    floods = [t.shapes[0].points for t, there in zip(place.things, standing, strict=True) if t.kind == 3 and there]
    for index, thing in enumerate(place.things):
        if thing.mobile:
            if thing.noun not in busy:
                quiet = 0.25 if thing.noun in ("airplane", "ship") else 0.4
                busy[thing.noun] = float(rng.uniform(0.12, 0.95)) if rng.random() > quiet else 0.0
            drowned = thing.noun in ("car", "truck") and any(touches(f, *thing.middle, 2.5) for f in floods)
            result[index] = bool(rng.random() < busy[thing.noun]) and not drowned
    return result
