"""A place becomes a map of surfaces: which shape lies on top at every sub-pixel, and tables of what each is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
from PIL import Image, ImageDraw

from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.thing import Layer, Shape
from rsmoe.scenes.render.palette import MATERIALS, SEASON_GAIN
from rsmoe.scenes.scene import LAND_COVER

_NAMES = tuple(MATERIALS)
_INDEX = {name: index for index, name in enumerate(_NAMES)}
FOAM = _INDEX["foam"]
"""Index of the material "foam"."""
IS_WATER = np.array([name in ("sea", "lake", "river", "foam") for name in _NAMES])
"""(M,) materials with waves and depth."""


@dataclass(frozen=True, kw_only=True)
class Raster:
    """N = canvas side in pixels, S = sub-pixels a pixel, K = surfaces. Surface 0 is the bare ground of the place."""

    full: np.ndarray
    """(N*S, N*S) int32, the surface on top."""
    still: np.ndarray
    """(N, N) intp, the surface on top without vehicles, sampled in the middle of the pixel."""
    moving: np.ndarray
    """(N, N) intp, the surface on top with vehicles, sampled alike."""
    material: np.ndarray
    """(K,) index into `MATERIALS`."""
    color: np.ndarray
    """(K, 4) float32 multiplier of the material's colour ends."""
    height: np.ndarray
    """(K,) float32 metres."""
    slope: np.ndarray
    """(K, 2) float32 horizontal part of the unit normal, in the frame of the picture."""
    furrow: np.ndarray
    """(K, 2) float32 cycles per pixel, in the frame of the picture."""
    thing: np.ndarray
    """(K,) index into the place's things, -1 for ground."""


@cache
def material_table(season: str) -> dict[str, np.ndarray]:
    """Columns of `MATERIALS` in a season: low and high (M, 4), the scalars (M,), cover (M,) as index."""
    materials = [MATERIALS[name] for name in _NAMES]
    gain = np.where([[m.plant] for m in materials], np.array(SEASON_GAIN[season]), 1.0)
    columns = {
        key: np.array([getattr(m, key) for m in materials], np.float32)
        for key in ("fine", "mid", "coarse", "grain", "trees", "snow", "bump")
    }
    columns["low"] = (np.array([m.low for m in materials]) * gain).astype(np.float32)
    columns["high"] = (np.array([m.high for m in materials]) * gain).astype(np.float32)
    columns["cover"] = np.array([LAND_COVER.index(m.cover) for m in materials])
    return columns


def rasterise(place: Place, standing: list[bool], *, size: int, margin: int, sub: int) -> Raster:
    """Paint the standing things of a place; the empty plots of the others show as bare ground.

    Args:
        size: side of the canvas in pixels, margins included.
        margin: pixels around the picture.
        sub: sub-pixels a pixel.
    """
    layers: list[list[tuple[int, Shape]]] = [[] for _ in Layer]
    for index, (thing, there) in enumerate(zip(place.things, standing, strict=True)):
        if thing.plot:
            layers[Layer.PLOT].append((-1, Shape(thing.plot, thing.bare)))
        if there:
            layers[thing.layer].extend((index, shape) for shape in thing.shapes)
    queue = [entry for layer in layers for entry in layer]
    flat = np.fromiter(chain.from_iterable(chain.from_iterable(s.points for _, s in queue)), np.float64)
    # Pillow cuts coordinates off to whole sub-pixels, so the half is taken away first.
    corners = ((place.to_picture(flat.reshape(-1, 2)) + margin) * sub - 0.5).ravel().tolist()
    image = Image.new("I", (size * sub, size * sub), 0)
    polygon = ImageDraw.Draw(image).polygon
    base = 1 + len(place.patches)
    still_until = len(queue) - len(layers[Layer.VEHICLE])
    still, start = None, 0
    for number, (_, shape) in enumerate(queue):
        if number == still_until:
            still = np.array(image.resize((size, size), Image.Resampling.NEAREST)).astype(np.intp)
        stop = start + 2 * len(shape.points)
        polygon(corners[start:stop], fill=base + number)
        start = stop
    full = np.array(image)
    # Tables are looked up with these a dozen times: in numpy's own index type that costs no conversion.
    moving = np.array(image.resize((size, size), Image.Resampling.NEAREST)).astype(np.intp)
    grounds = [Shape((), place.ground), *(Shape((), name) for name, _ in place.patches)]
    shapes = grounds + [shape for _, shape in queue]
    material = np.array([_INDEX[s.material] for s in shapes])
    turn = np.array([[np.cos(place.turn), np.sin(place.turn)], [-np.sin(place.turn), np.cos(place.turn)]])
    return Raster(
        full=full,
        still=moving.copy() if still is None else still,
        moving=moving,
        material=material,
        color=_tints(shapes, material),
        height=np.array([s.height for s in shapes], np.float32),
        slope=(np.array([s.slope for s in shapes]) @ turn).astype(np.float32),
        furrow=(np.array([s.furrow for s in shapes]) @ turn * place.gsd_m).astype(np.float32),
        # The foam behind a boat is not part of the boat.
        thing=np.array([-1] * base + [-1 if s.material == "foam" else index for index, s in queue]),
    )


def _tints(shapes: list[Shape], material: np.ndarray) -> np.ndarray:
    """(K, 4) factors that bring the middle colour of each material to the colour asked for."""
    table = material_table("summer")
    tints = np.ones((len(shapes), 4), np.float32)
    colored = [index for index, shape in enumerate(shapes) if shape.color is not None]
    if colored:
        middle = (table["low"] + table["high"])[material[colored]] / 2
        tints[colored] = np.array([shapes[index].color for index in colored]) / middle
    return tints
