"""Which classes of objects a text names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rsmoe.metrics.captions.snowball import stem
from rsmoe.metrics.captions.tokenize import whitespace

OBJECTS: dict[str, tuple[str, ...]] = {
    **{"airplane": ("airplane", "plane", "aircraft", "jet"), "airport": ("airport",), "helicopter": ("helicopter",)},
    **{"ship": ("ship", "boat", "vessel", "yacht"), "harbor": ("harbor", "harbour", "port", "dock", "marina")},
    **{"vehicle": ("vehicle", "car", "truck", "bus", "van"), "bridge": ("bridge", "overpass")},
    **{"storage tank": ("storage tank", "oil tank", "tank"), "swimming pool": ("swimming pool", "pool")},
    **{"tennis court": ("tennis court",), "basketball court": ("basketball court", "basketball field")},
    **{"baseball field": ("baseball field", "baseball diamond"), "stadium": ("stadium",)},
    **{"soccer field": ("soccer field", "football field", "soccer ball field"), "roundabout": ("roundabout",)},
    **{"track field": ("track field", "ground track field", "running track"), "golf course": ("golf course",)},
    **{"chimney": ("chimney",), "dam": ("dam",), "windmill": ("windmill", "wind turbine")},
    **{"train station": ("train station", "railway station"), "container": ("container",), "crane": ("crane",)},
    **{"toll station": ("toll station", "toll gate"), "service area": ("service area",)},
}
"""Object class -> its names in captions, in the singular; the classes of DOTA and DIOR. For data with other classes
give others: what is not named here is neither right nor wrong."""


class ObjectWords:
    """Finds the classes that a text names, the longest name first: "tennis courts" is no "court".

    Words are compared by their stems (`rsmoe.metrics.captions.snowball.stem`), so plurals count.

    Args:
        classes: class -> names.

    Raises:
        ValueError: one name for two classes.
    """

    def __init__(self, classes: Mapping[str, Sequence[str]]) -> None:
        self._classes: dict[tuple[str, ...], str] = {}
        for owner, names in classes.items():
            for name in names:
                key = tuple(map(stem, whitespace(name)))
                if self._classes.setdefault(key, owner) != owner:
                    raise ValueError(f"{name!r} names both {self._classes[key]!r} and {owner!r}")
        self._longest = max(map(len, self._classes), default=0)

    def __call__(self, text: str) -> list[str]:
        """The class of each mention in the text, in order."""
        stems, found, i = [stem(token) for token in whitespace(text)], [], 0
        while i < len(stems):
            sizes = (n for n in range(self._longest, 0, -1) if tuple(stems[i : i + n]) in self._classes)
            size = next(sizes, 0)
            if size:
                found.append(self._classes[tuple(stems[i : i + size])])
            i += max(size, 1)
        return found
