"""Semantic segmentation sets: an image and a map of its classes, in colours or in indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsmoe.checks.ranges import Positive
from rsmoe.data.files.file_names import globbed, stem
from rsmoe.data.rasters.class_map_sources import ClassMask, ColourMap, IndexMap
from rsmoe.data.rasters.images import find_images, refuse
from rsmoe.data.readers.annotations import contents, data_root, read_lines, require_split
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError, require_known

REQUESTS = ("image", "present", "every")
"""What a sample asks for: all classes of an image, one that is in it, or any one of the set's classes."""


@dataclass(frozen=True)
class _Pair:
    """An image, its map, and the image's path below the root as id."""

    id: str
    image: Path
    map: Path


class SemanticMasks(Reader):
    """Semantic segmentation: image files, and class maps as colours or pixel values.

    Every sample has ``class_map`` and ``classes``, and task "mask". By ``requests``:

    - "image": one sample an image, without ``mask``: for metrics over class maps. Nothing is decoded.
    - "present": one sample for every class of at least ``min_pixels`` pixels in an image, "Segment the road.", with its
      ``mask``. Every map is decoded once when the set is made: 15 ms a megapixel of indices, 40 of colours.
    - "every": one sample for every image and class, whether it is there or not; the mask may be empty. Nothing is
      decoded: the way to ask a huge set, and the honest one to measure false alarms.

    Args:
        images: pattern of the image files of each split, relative to ``root``: "Train/*/images_png/*.png".
        to_map: what to replace in the path of an image, relative to ``root``, to get that of its map; every key has to
            be there: {images_png: masks_png}.
        classes: name of each class, in order, and its value in the map: a colour "#6EC1E4", or a pixel value 3. All of
            one kind.
        ignore: values of the map that mean no class (255 in ``class_map``). Any further value is an error when the
            map is read; None, for colours, ignores them all.
        names: for splits that share a pattern, the stems of their images, or a text file that has one file name a line.
        incomplete: whether listed images that are not there are left out (``unused``) instead of refused.
        requests: one of `REQUESTS`.
        min_pixels: fewest pixels of a class to be asked for, with "present".
        absent: names of things that no image of the set has: each is asked for on every image too, by an empty mask, so
            that a model does not take one of the classes for them. Not with "image".

    Attributes:
        unused: listed images that are not there, with ``incomplete``; images in which no class is present; those whose
            map is of another size, with both.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        images: Mapping[str, str],
        to_map: Mapping[str, str],
        classes: Mapping[str, str | int],
        ignore: Sequence[str | int] | None = (),
        names: Mapping[str, Sequence[str] | str] | None = None,
        incomplete: bool = False,
        requests: str = "image",
        min_pixels: Positive = 1,
        absent: Sequence[str] = (),
        meta: Mapping[str, object] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_known(f"requests of {name}", requests, known=REQUESTS)
        folder = data_root(root, name)
        require_split(name, split, sorted(images))
        super().__init__(name=name, split=split, official=official)
        self.classes = tuple(classes)
        self._meta = dict(meta or {})
        values = [*classes.values(), *(ignore or ())]
        kinds = {type(value) for value in values}
        if len(set(values)) < len(values):
            raise UserError(f"{name}: give every class a value of its own, not {dict(classes)}, ignored {ignore}")
        if kinds not in ({str}, {int}) or (ignore is None and kinds == {int}):
            raise UserError(f"{name}: give every class either a colour '#RRGGBB' or a pixel value, not {dict(classes)}")
        self._colours = tuple(_colour(value, name) for value in classes.values()) if kinds == {str} else None
        self._values = tuple(classes.values())
        self._ignore = None if ignore is None else tuple(ignore)
        self._pairs = self._find(folder, images[split], to_map, (names or {}).get(split), incomplete)
        self._rows: list[tuple[int, int | None]]  # pair, class; None asks for all
        if requests == "image":
            self._rows = [(i, None) for i in range(len(self._pairs))]
        elif requests == "every":
            self._rows = [(i, k) for i in range(len(self._pairs)) for k in range(len(classes))]
        else:
            self._rows = [(i, k) for i, pair in enumerate(self._pairs) for k in self._present(pair, min_pixels)]
        if absent and requests == "image":
            raise UserError(f"{name}: absent={list(absent)} asks for masks, and requests=image for none: leave one out")
        if known := sorted({*absent} & {*classes}):
            raise UserError(f"{name}: absent={list(absent)} names a class of the maps, {known[0]!r}: leave it out")
        self._kinds = (*classes, *absent)  # no map has the number of an absent one: its mask is empty
        self._rows += [(i, len(classes) + k) for i in range(len(self._pairs)) for k in range(len(absent))]
        if not self._rows:
            raise UserError(f"{name}: no image of {split!r} has {min_pixels} pixels of any class. Lower min_pixels")
        self.counts = {"images": len(self._pairs), "requests": len(self._rows)}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        number, asked = self._rows[index]
        pair = self._pairs[number]
        source = self._map(pair)
        if asked is None:
            kind, request = "", f"Segment every pixel as one of: {', '.join(self.classes)}."
        else:
            kind = self._kinds[asked]
            request = f"Segment the {kind}."
        return self._make(
            pair.id if asked is None else f"{pair.id}:{kind}",
            (pair.image,),
            request,
            ("the classes are here [SEG]" if asked is None else f"the {kind} [SEG]",),
            "mask",
            kind=kind,
            mask=None if asked is None else ClassMask(source, (asked,)),
            class_map=source,
            classes=self.classes,
            meta=dict(self._meta),
        )

    def _map(self, pair: _Pair) -> ColourMap | IndexMap:
        if self._colours is not None:
            ignore = None if self._ignore is None else tuple(_colour(value, self.name) for value in self._ignore)
            return ColourMap(pair.map, self._colours, ignore, image=pair.image)
        remap = {int(value): k for k, value in enumerate(self._values)}
        return IndexMap(pair.map, remap, tuple(int(value) for value in self._ignore or ()), image=pair.image)

    def _present(self, pair: _Pair, min_pixels: int) -> list[int]:
        pixels = np.bincount(self._map(pair).read().reshape(-1), minlength=len(self.classes))[: len(self.classes)]
        present = np.flatnonzero(pixels >= max(min_pixels, 1)).tolist()
        if not present:
            self.leave_out("no class is present", pair.id)
        return present

    def _find(
        self,
        folder: Path,
        pattern: str,
        to_map: Mapping[str, str],
        chosen: Sequence[str] | str | None,
        incomplete: bool,
    ) -> list[_Pair]:
        found = globbed(folder, pattern)
        if chosen is not None:
            if isinstance(chosen, str):
                chosen = list(filter(None, read_lines(folder / chosen)))
            by_stem: dict[str, Path] = {}
            stems = dict.fromkeys(stem(str(name)) for name in chosen)
            for path in found:
                first = by_stem.setdefault(stem(path.name), path)
                if first is not path and stem(path.name) in stems:
                    raise UserError(f"{self.name}: the list names {stem(path.name)!r}, which is {first} and {path}")
            missing = [key for key in stems if key not in by_stem]
            if not incomplete:
                refuse(missing, len(stems), f"listed images are not at {folder / pattern}", source=self.name)
            if missing:
                self.unused["listed, but the image is not there"] = missing
            found = [by_stem[key] for key in stems if key in by_stem]
        if not found:
            raise UserError(
                f"{self.name}: no image of split {self.split!r} at {folder / pattern}. {folder} holds: "
                f"{contents(folder)}. "
                "Unpack the release there, or give its layout: data.images, data.to_map"
            )
        pairs = []
        for path in found:
            relative = path.relative_to(folder).as_posix()
            target = said = f"{relative.removesuffix(path.suffix)}{path.suffix.lower()}"
            for old, new in to_map.items():
                if old not in said:
                    raise UserError(f"{self.name}: to_map replaces {old!r}, which is not in {relative!r}")
                target = target.replace(old, new)
            pairs.append((relative, path, target))
        absent: list[str] = []
        maps = find_images(folder, [target for _, _, target in pairs], source=self.name, flat=False, absent=absent)
        without = [relative for relative, _, target in pairs if target not in maps]
        expected = folder / pairs[0][2]
        refuse(without, len(pairs), f"images have no map (expected {expected} ...)", source=self.name)
        check = PictureCheck(self)
        fitting = [
            _Pair(relative, path, maps[target])
            for relative, path, target in pairs
            if check.same_size((path, maps[target]), relative)
        ]
        check.finish()
        return fitting


def _colour(value: str | int, name: str) -> tuple[int, int, int]:
    text = str(value).removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(text)
    except ValueError:
        raise UserError(f"{name}: {value!r} is not a colour. Give it as '#RRGGBB'") from None
    return red, green, blue
