"""Binary change detection sets: folders of before, after and label (LEVIR-CD, DSIFN, S2Looking)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.change.instructions import SEGMENT, SEGMENTED
from rsmoe.data.files.file_names import SUFFIXES, listed
from rsmoe.data.rasters.class_map_sources import ClassMask, ColourMap, IndexMap
from rsmoe.data.rasters.images import find_images
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.readers.annotations import contents, data_root, read_lines, require_split
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError

SPLITS = ("train", "val", "test")
"""Names of the splits that a folder may have."""


@dataclass(frozen=True, kw_only=True)
class ChangeLayout:
    """Where a copy of a release has its files; "{split}" in a path stands for the split."""

    before: str
    """Folder of the first date, relative to the root."""
    after: str
    """Folder of the second date; files are matched by stem."""
    label: str
    """Folder of the masks."""
    names: str | None = None
    """Text file with one file name a line; None takes every image of the folder."""
    pattern: str = "*"
    """What file names look like: "{split}_*"."""
    holds: str | None = None
    """The split that the folder as a whole is, where nothing of the above says it."""


class ChangeFolder(Reader):
    """Binary change detection, one "mask" sample a pair: two images and the change mask.

    Copies of these sets come in several layouts (the release, tiles of 256 px with lists, a flat folder); the first of
    ``layouts`` whose folders and list are there is read, and named in ``layout``. Every sample has ``mask`` and, the
    same, ``class_map`` (0 no change, 1 ``what``), decoded when they are needed.

    Args:
        layouts: the fields of a `ChangeLayout` each, tried in order.
        what: name of class 1.
        values: what the pixels of a label mean: {0: 0, 255: 1}; any other value is an error. None: whatever is not
            black has changed, for labels in colours.
        instruction, response: the texts; the response holds one [SEG].

    Attributes:
        layout: the `ChangeLayout` that was read.
        unused: pairs whose pictures and label are not of one size, with their sizes.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        layouts: Sequence[Mapping[str, Any]],
        what: str = "change",
        values: Mapping[int, int] | None = None,
        instruction: str = SEGMENT,
        response: str = SEGMENTED,
        meta: Mapping[str, object] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_split(name, split, list(SPLITS))
        if response.count("[SEG]") != 1:
            raise UserError(f"{name}: the response has to hold one [SEG], found {response!r}")
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self.classes = ("no change", what)
        self._values = None if values is None else dict(values)
        self._texts, self._meta = (instruction, response), dict(meta or {})
        self.layout = self._choose(folder, [_layout(node, name) for node in layouts])
        names = self._names(folder)
        files = [
            find_images(folder / _of(path, split), names, source=name)
            for path in (self.layout.before, self.layout.after, self.layout.label)
        ]
        check = PictureCheck(self)
        pairs = [(key, files[0][key], files[1][key], files[2][key]) for key in names]
        self._pairs = [pair for pair in pairs if check.same_size(pair[1:], pair[0])]
        check.finish()
        self.counts = {"pairs": len(self._pairs)}

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        name, before, after, label = self._pairs[index]
        class_map: Lazy
        if self._values is None:
            class_map = _NotBlack(label, before)
        else:
            class_map = IndexMap(label, self._values, ignore=(), image=before)
        return self._make(
            name,
            (before, after),
            self._texts[0],
            (self._texts[1],),
            "mask",
            kind="change",
            mask=ClassMask(class_map, (1,)),
            class_map=class_map,
            classes=self.classes,
            meta=dict(self._meta),
        )

    def _choose(self, folder: Path, layouts: list[ChangeLayout]) -> ChangeLayout:
        for layout in layouts:
            folders = (layout.before, layout.after, layout.label)
            if all((folder / _of(path, self.split)).is_dir() for path in folders) and (
                layout.names is None or (folder / _of(layout.names, self.split)).is_file()
            ):
                return layout
        tried = "; ".join(
            ", ".join(_of(path, self.split) for path in (x.before, x.after, x.label, x.names) if path) for x in layouts
        )
        raise UserError(
            f"{self.name}: {folder} has none of the layouts for split {self.split!r}: {tried}. It holds: "
            f"{contents(folder)}. "
            "Unpack the release there, or give its layout: 'data.layouts=[{before: A, after: B, label: label}]'"
        )

    def _names(self, folder: Path) -> list[str]:
        layout = self.layout
        if layout.holds is not None and layout.holds != self.split:
            raise UserError(
                f"{self.name}: {folder} has no parts, it is all {layout.holds!r}: ask for data.split={layout.holds}"
            )
        if layout.names is not None:
            names = list(dict.fromkeys(filter(None, read_lines(folder / _of(layout.names, self.split)))))
        else:
            names = [path.name for path in listed(folder / _of(layout.before, self.split), *SUFFIXES)]
        pattern = _of(layout.pattern, self.split)
        kept = [name for name in names if fnmatchcase(name, pattern)]
        if not kept:
            raise UserError(
                f"{self.name}: no pair of split {self.split!r} in {folder / _of(layout.before, self.split)}: "
                f"{len(names)} images, none named {pattern!r}"
            )
        return kept


@dataclass(frozen=True)
class _NotBlack:
    """(H, W) uint8: 1 where a label has any colour."""

    path: Path
    image: Path

    @property
    def key(self) -> str:
        return f"not-black:{self.path}"

    def read(self) -> np.ndarray:
        black = ColourMap(self.path, ((0, 0, 0),), None, image=self.image).read()
        return (black == UNKNOWN).astype(np.uint8)


def _of(path: str, split: str) -> str:
    return path.replace("{split}", split)


def _layout(node: Mapping[str, Any], name: str) -> ChangeLayout:
    try:
        layout = ChangeLayout(**node)
    except TypeError as error:
        raise UserError(
            f"{name}: a layout has before, after, label and may have names, pattern, holds; found {dict(node)}"
        ) from error
    said = (layout.before, layout.names or "", layout.pattern)
    if layout.holds is None and not any("{split}" in part for part in said):
        raise UserError(
            f"{name}: the layout {dict(node)} does not say which pairs are of which split. Write {{split}} into a "
            "path, names or pattern, or say what all of it is: holds: test"
        )
    return layout
