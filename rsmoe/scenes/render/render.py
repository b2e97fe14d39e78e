"""A place on a day becomes a picture and its ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from rsmoe.scenes.place.place import Place
from rsmoe.scenes.render.canopy import crowns, nearest_radius
from rsmoe.scenes.render.day import Day
from rsmoe.scenes.render.light import face_shading, shading, shadows
from rsmoe.scenes.render.noise import NoiseWindow, tile
from rsmoe.scenes.render.palette import CROWNS
from rsmoe.scenes.render.rasterise import FOAM, IS_WATER, Raster, material_table, rasterise
from rsmoe.scenes.scene import LAND_COVER

FOREST = LAND_COVER.index("forest")
"""Index of the land cover class "forest"."""
SKY = (0.9, 0.99, 1.13, 0.8)
"""Colour of the light in shadows."""
AIR = (182.0, 194.0, 208.0, 92.0)
"""Colour of haze."""
SNOW = (226.0, 230.0, 238.0, 200.0)
"""Colour of snow: red, green, blue and near infrared."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture with its margins, N = canvas side, and which thing is seen where."""

    image: np.ndarray
    """(N, N, C) uint8."""
    semantic: np.ndarray
    """(N, N) uint8 index into `LAND_COVER`, as if there were no vehicles."""
    things: np.ndarray
    """(N, N) int32 index into the place's things, -1 where the ground is seen; vehicles included."""
    still_things: np.ndarray
    """(N, N) int32, the same without vehicles."""


def render(
    place: Place,
    standing: list[bool],
    day: Day,
    *,
    window: NoiseWindow,
    camera: np.random.Generator,
    margin: int,
    sub: int,
    bands: int,
) -> Picture:
    """Paint, plant, light and photograph a place.

    Args:
        window: the texture of the place (the same on every day).
        camera: source of the sensor noise.
        margin: pixels around the picture.
        sub: sub-pixels a pixel.
        bands: 3, or 4 with near infrared.
    """  # fmt: skip
    size, metre = window.size, np.float32(1 / place.gsd_m)
    raster = rasterise(place, standing, size=size, margin=margin, sub=sub)
    _spread_patches(place, raster, window, sub)
    table = material_table(day.season)
    kind = raster.material.take(raster.moving)
    water = IS_WATER.take(kind) if IS_WATER[raster.material].any() else None
    terrain = window(place.relief) * (place.relief_m * metre) if place.relief else None

    image = _colors(raster, table, day, window, kind, water, sub)[:bands]
    if day.snow:
        _lay_snow(image, table["snow"].take(kind), day, window)
    relief, waves = _small_relief(place, day, window, table["bump"].take(kind), water)
    height = _pooled_heights(raster, sub) * metre
    tree = _trees(place, raster, table, window)
    if tree is not None:
        _paint_crowns(image, tree, place, day)
        crowns_px = tree.cover * tree.dome
        crowns_px *= place.canopy_m * place.canopy_shape * metre
        relief += crowns_px
        height = np.maximum(height, crowns_px)
    if terrain is not None:
        relief += terrain
        height += terrain
    dark = shadows(height, day.sun)
    direct = shading(relief, day.sun)
    direct *= (1 - day.ambient) * (1 - dark)
    for band in range(bands):
        image[band] *= direct + day.ambient * SKY[band]
    if waves is not None and day.glint:
        image += np.clip(waves - 0.9, 0, 1) * np.float32(30 * day.wind) * (1 - dark)

    semantic = table["cover"].take(raster.material.take(raster.still)).astype(np.uint8)
    things, still_things = raster.thing.take(raster.moving), raster.thing.take(raster.still)
    if tree is not None:
        semantic[tree.under] = FOREST
        still_things[tree.under] = -1
        things[tree.under & (raster.moving == raster.still)] = -1
    return Picture(image=_expose(image, day, camera), semantic=semantic, things=things, still_things=still_things)


def _spread_patches(place: Place, raster: Raster, window: NoiseWindow, sub: int) -> None:
    """Turn the share of the bare ground that belongs to each patch material into it (in place)."""
    for number, (_, share) in enumerate(place.patches):
        source = "ridges" if place.relief == "ridges" else "patch"
        field = tile(source)
        limit = np.quantile(field[::7, ::7], 1 - share)
        slide = 0 if place.relief == "ridges" else 67 * number
        inside = window(source, slide) + 0.12 * window("mid") > limit
        for target, mask in (
            (raster.still, inside),
            (raster.moving, inside),
            (raster.full, inside.repeat(sub, 0).repeat(sub, 1)),
        ):
            target[mask & (target <= number)] = number + 1


def _colors(
    raster: Raster,
    table: dict[str, np.ndarray],
    day: Day,
    window: NoiseWindow,
    kind: np.ndarray,
    water: np.ndarray | None,
    sub: int,
) -> np.ndarray:
    """(4, N, N) float32 colours of the surfaces, sloping faces lit by the sun."""  # fmt: skip
    faces = day.ambient + (1 - day.ambient) * face_shading(raster.slope, day.sun)
    gain = raster.color * faces[:, None]
    low = table["low"][raster.material] * gain
    span = table["high"][raster.material] * gain - low
    image = _pooled(low, raster.full, sub)
    mix = _mix(raster, table, window, kind, water)
    grain = 1 + table["grain"].take(kind) * window("white")
    for band in range(4):
        image[band] += span[:, band].take(raster.moving) * mix
        image[band] *= grain
    return image


def _small_relief(
    place: Place, day: Day, window: NoiseWindow, bump: np.ndarray, water: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Plants, clods and waves: (N, N) heights in pixels, and the waves alone (0 on land) if there is water."""
    texture, waves = window("fine"), None
    if water is not None:
        waves = np.where(water, 0.45 * window("swell") + 0.7 * window("ripple"), np.float32(0))
        texture = np.where(water, waves * np.float32(0.25 + day.wind), texture)
    # Rough ground looks smoother from farther away, but not in proportion.
    return bump * texture * np.float32(0.5 / max(place.gsd_m, 0.25) ** 0.5), waves


def _pooled(low: np.ndarray, full: np.ndarray, sub: int) -> np.ndarray:
    """(4, N, N) float32 mean over the sub-pixels of a (K, 4) colour table looked up at (N*S, N*S) indices."""
    packed = np.clip(low, 0, 255).astype(np.uint8).view(np.uint32).ravel().take(full)
    # "CMYK" is Pillow's only mode of four equal channels ("RGBA" would be weighted by its alpha).
    fine = Image.frombuffer("CMYK", (full.shape[1], full.shape[0]), packed, "raw", "CMYK", 0, 1)
    return np.asarray(fine.reduce(sub)).transpose(2, 0, 1).astype(np.float32, order="C")


def _pooled_heights(raster: Raster, sub: int) -> np.ndarray:
    """(N, N) float32 heights of objects in metres, averaged over the sub-pixels, in steps of a quarter metre."""
    packed = np.minimum(raster.height * 4, 255).astype(np.uint8)
    if not packed.any():
        return np.zeros(raster.still.shape, np.float32)
    return np.asarray(Image.fromarray(packed.take(raster.full)).reduce(sub), np.float32) / 4


def _mix(
    raster: Raster, table: dict[str, np.ndarray], window: NoiseWindow, kind: np.ndarray, water: np.ndarray | None
) -> np.ndarray:
    """(N, N) position between the low and the high colour of each pixel's material."""
    mix = table["fine"].take(kind)
    mix *= window("fine", 31)
    mix += table["mid"].take(kind) * window("mid")
    mix += table["coarse"].take(kind) * window("coarse")
    if raster.furrow.any():
        wave = (raster.furrow * np.float32(2 * np.pi)).T
        steps = np.arange(window.size, dtype=np.float32)
        phase = wave[0].take(raster.moving) * steps + wave[1].take(raster.moving) * steps[:, None]
        mix += np.float32(0.26) * np.sin(phase)  # sin(0) = 0 where there are no furrows
    mix += 0.5
    if water is not None:
        mix += np.where(water & (kind != FOAM), _depth(IS_WATER.take(raster.material.take(raster.still))) - 0.5, 0)
    return np.clip(mix, 0, 1.2, out=mix)


def _depth(water: np.ndarray) -> np.ndarray:
    """(N, N) float32 from 0 at the shore to 1 far out."""
    land = Image.fromarray(np.where(water, 0, 255).astype(np.uint8))
    size = land.size
    coarse = land.reduce(4).filter(ImageFilter.GaussianBlur(size[0] / 64))
    near = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float32) / 255
    return np.clip(1 - 1.9 * near, 0, 1)


def _lay_snow(image: np.ndarray, hold: np.ndarray, day: Day, window: NoiseWindow) -> None:
    """Cover (C, N, N) colours with snow where the material holds it (in place)."""
    white = np.clip(hold * (1.7 * day.snow + 0.35 * window("patch", 201) + 0.2 * window("mid", 9) - 0.15), 0, 0.93)
    for band in range(len(image)):
        image[band] += white * (SNOW[band] - image[band])


class _Wood(NamedTuple):
    """Crowns over a picture, each (N, N), float32 in 0-1 but for ``under``."""

    under: np.ndarray
    """bool, whether a crown stands over the pixel."""
    cover: np.ndarray
    """How much of it shows: a vehicle is never hidden."""
    dome: np.ndarray
    shade: np.ndarray


def _trees(place: Place, raster: Raster, table: dict[str, np.ndarray], window: NoiseWindow) -> _Wood | None:
    """Trees where the ground about their trunks bears them."""
    sites = table["trees"][raster.material]
    if not (sites.any() and place.density):
        return None
    crown = crowns(nearest_radius(place.canopy_m / place.gsd_m), place.canopy_jitter)
    size, rows = window.size, np.arange(window.size)
    dy, dx = window.offsets(crown.trunk_dy, crown.trunk_dx)
    trunk = np.clip(rows[:, None] + dy, 0, size - 1) * size
    trunk += np.clip(rows + dx, 0, size - 1)
    share = (sites * np.float32(place.density)).take(raster.still)
    share *= 1 + 0.5 * window("patch", 133)
    # Closed woods are closed whatever the density of single trees.
    share[(sites >= 1).take(raster.still)] = 0.95
    dome = window.cut(crown.dome)
    stands = share.take(trunk) > window.cut(crown.chance)
    cover = np.minimum(dome * 4, 1) * stands
    under = cover > 0.5
    cover *= raster.moving == raster.still
    return _Wood(under, cover, dome, window.cut(crown.shade))


def _paint_crowns(image: np.ndarray, tree: _Wood, place: Place, day: Day) -> None:
    """Blend crowns into (C, N, N) colours (in place)."""
    dark, bright = CROWNS[day.season]
    tone = (1 - 0.75 * place.needles) * 0.75 * tree.shade + 0.25 * tree.dome
    clear = 1 - tree.cover
    tone *= tree.cover
    for band in range(len(image)):
        image[band] *= clear
        image[band] += dark[band] * tree.cover + (bright[band] - dark[band]) * tone


def _expose(image: np.ndarray, day: Day, camera: np.random.Generator) -> np.ndarray:
    """Air, optics and sensor: (C, N, N) float32 radiance to (N, N, C) uint8."""
    grains = NoiseWindow(rng=camera, size=image.shape[1])
    white = tile("white") * np.float32(day.noise)
    grey = (image[0] * 0.3 + image[1] * 0.59 + image[2] * 0.11) * np.float32(1 - day.saturation)
    out = np.empty((*image.shape[1:], len(image)), np.uint8)
    for band, plane in enumerate(image):
        visible = band < 3
        if visible:
            plane *= day.saturation
            plane += grey
        for view in (plane, plane.T):
            sides = view[:-2] + view[2:]
            sides *= day.blur
            view[1:-1] *= 1 - 2 * day.blur
            view[1:-1] += sides
        gain = day.gain * day.tint[band] * (day.contrast if visible else 1.0)
        plane *= (1 - day.haze) * gain
        plane += day.haze * AIR[band] * gain + (100 * (1 - day.contrast) if visible else 0.0) + 0.5
        plane += grains.cut(white, 97 * band)
        np.clip(plane, 0, 255, out=plane)
        out[..., band] = plane
    return out
