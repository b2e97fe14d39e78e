"""Folders of class maps: one PNG or GeoTIFF an image, its pixel values the classes, of one name in both folders.

``classes.txt`` beside the references names the classes, one a line, from value 0 on; without it their values are their
names. 255 is unknown and not scored.
"""

from __future__ import annotations

from pathlib import Path

from rsmoe.data.files.file_names import slashes
from rsmoe.data.rasters.mask_sources import UNKNOWN, IndexMap
from rsmoe.data.readers.annotations import read_lines
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.formats.references import References
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.class_map_iou import OUTPUT

_SUFFIXES = (".png", ".tif", ".tiff")
_NAMES = "classes.txt"


def read_map_references(folder: Path, *, task: str) -> References:
    """One sample a file, named by its path in the folder without suffix.

    Raises:
        UserError: no map, two of one name, or `rsmoe.data.rasters.mask_sources.IndexMap.read`.
    """
    maps = _maps(folder)
    if (folder / _NAMES).is_file():
        names = tuple(filter(None, (line.strip() for line in read_lines(folder / _NAMES))))
    else:
        largest = max(int(values[values != UNKNOWN].max(initial=0)) for values in map(IndexMap.read, maps.values()))
        names = tuple(str(value) for value in range(largest + 1))
    samples = tuple(
        Sample(
            id=name,
            images=(Path(name),),
            instruction="",
            responses=("",),
            task=task,
            source="folder",
            class_map=known,
            classes=names,
        )
        for name, known in maps.items()
    )
    return References(samples=samples, names={"file": tuple(maps)})


def read_map_predictions(folder: Path, *, task: str) -> list[Prediction]:
    """One prediction a file, its map under `OUTPUT`; raises `UserError` as `read_map_references`."""
    return [Prediction(id=name, task=task, outputs={OUTPUT: own.read()}) for name, own in _maps(folder).items()]


def _maps(folder: Path) -> dict[str, IndexMap]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise UserError(f"{folder} holds no class map: expected files of {', '.join(_SUFFIXES)}")
    found: dict[str, IndexMap] = {}
    for path in paths:
        name = slashes(path.relative_to(folder).with_suffix("").as_posix())
        if name in found:
            raise UserError(f"{folder} holds two maps of {name!r}: {found[name].path.name} and {path.name}")
        found[name] = IndexMap(path=path)
    return found
