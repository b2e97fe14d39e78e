"""Places with names and facts that no picture tells, and questions that need them."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from rsmoe.geo.georeference import Georeference
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.scenes.release import split_range

ASKS: dict[str, tuple[str, ...]] = {
    "name": ("What is the name of this place?", "What name does this place have?"),
    "built": ("In which year was this place built?", "When was it built?"),
    "owner": ("Who is the owner of this place?", "Which company is its owner?"),
    "architect": ("Who was the architect of this place?", "What is the name of its architect?"),
    "manager": ("Who is the manager of this place?", "What is the name of its manager?"),
}
"""Kind of a question that needs knowledge -> its wordings."""

_FIRST = "alder amber birch cedar copper ember falcon garnet hazel juniper linden otter".split()
_SECOND = "acre bank cross dale ferry gate haven keep landing mill reach ridge".split()
_COMPANIES = "acme borea calvert dolmen elara fenwick galdor halden".split()
_ARCHITECTS = "abara castro dietz ekberg fischer garcia haddad ito".split()
_MANAGERS = "jansen kovacs lund moreau novak okafor rossi tanaka".split()
_YEARS = tuple(str(year) for year in range(1908, 1988, 8))
_ZONE, _CORNER_M, _SPREAD_M = "EPSG:32633", (300_000, 4_600_000), (400_000, 1_200_000)


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """What is known of a scene of the generator."""

    scene: int
    """Its number."""
    name: str
    facts: dict[str, str]
    """"built", "owner", "architect", "manager"."""
    point_m: tuple[int, int]
    """East and north of its middle, UTM zone 33."""

    def answer(self, kind: str) -> str:
        """To a question of a kind of `ASKS`."""
        return self.name if kind == "name" else self.facts[kind]

    def texts(self) -> dict[str, str]:
        """Fact -> the note on it, as `rsmoe.knowledge.read_notes` makes it of a row."""
        return {key: f"{self.name}, {key} {value}" for key, value in self.facts.items()}

    def georeference(self, *, size_px: int, gsd_m: float) -> Georeference:
        """Of a picture with the landmark in its middle."""
        (east, north), half = self.point_m, size_px * gsd_m / 2
        return Georeference(_ZONE, (gsd_m, 0.0, east - half, 0.0, -gsd_m, north + half), size_px, size_px)


def landmark(scene: int, *, seed: int) -> Landmark:
    """What is known of a scene: names and facts are drawn at random, whatever the scene shows."""
    rng = random.Random(f"{seed}/{scene}/landmark")
    return Landmark(
        scene=scene,
        name=f"{rng.choice(_FIRST)} {rng.choice(_SECOND)}",
        facts={
            "built": rng.choice(_YEARS), "owner": rng.choice(_COMPANIES),
            "architect": rng.choice(_ARCHITECTS), "manager": rng.choice(_MANAGERS),
        },
        point_m=(_CORNER_M[0] + rng.randrange(_SPREAD_M[0]), _CORNER_M[1] + rng.randrange(_SPREAD_M[1])),
    )  # fmt: skip


def landmarks(split: str, size: int, *, seed: int) -> Iterator[Landmark]:
    """The first landmarks of a split."""
    return (landmark(scene, seed=seed) for scene in split_range(split, size))


def write_landmarks(folder: Path, *, split: str, size: int, seed: int, size_px: int) -> Path:
    """Writes ``landmarks.csv`` and ``pictures/*.png``: each place from another flight than the one that is asked about.

    Returns:
        the table, with the columns id, name, image, lon, lat and the facts.
    """
    generator = SceneGenerator(size_px=size_px, seed=seed)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    table = folder / "landmarks.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "name", "image", "lon", "lat", "built", "owner", "architect", "manager"])
        for known in landmarks(split, size, seed=seed):
            image = f"pictures/{known.scene:08d}.png"
            Image.fromarray(generator.scene(known.scene, visit=1).image).save(folder / image)
            place = known.georeference(size_px=2, gsd_m=1.0)
            ((lon, lat),) = place.to_lonlat([[1.0, 1.0]]).tolist()  # type: ignore[arg-type]
            rows.writerow([f"{known.scene:08d}", known.name, image, f"{lon:.6f}", f"{lat:.6f}", *known.facts.values()])
    return table
