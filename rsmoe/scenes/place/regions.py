"""Changes of the land itself: floods and cleared woods. Both exist in a place as a possibility, absent by default."""

from __future__ import annotations

from rsmoe.scenes.place.geometry import blob
from rsmoe.scenes.place.place import Place
from rsmoe.scenes.place.thing import Layer, Shape, Thing


def flood(place: Place, x: float, y: float, radius: float, water: str = "flood water") -> None:
    """Low ground about (x, y) that the water may take, and leave: muddy, or ``water`` where a lake or the sea rises."""
    outline = blob(place.rng, x, y, radius, 0.4)
    place.add(
        Thing(noun="water", shapes=(Shape(outline, water),), layer=Layer.FLOOD, middle=(x, y), appear="flooded",
              vanish="drained", kind=3),
        standing=False,
    )  # fmt: skip


def clearing(place: Place, x: float, y: float, radius: float, standing: bool = False) -> None:
    """Ground about (x, y) from which trees may be felled; appearing it is "cleared", vanishing it is "planted"."""
    outline = blob(place.rng, x, y, radius, 0.3)
    woods = blob(place.rng, x, y, radius * 1.25, 0.3)
    place.paint(woods, "woods")
    place.paint(outline, "woods")
    place.add(
        Thing(noun="forest", shapes=(Shape(outline, "cutover"),), layer=Layer.GROUND, middle=(x, y), appear="cleared",
              vanish="planted", kind=4),
        standing=standing,
    )  # fmt: skip
