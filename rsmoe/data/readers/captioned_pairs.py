"""Change captions in Karpathy's json over folders of before and after: LEVIR-CC, DUBAI-CC."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsmoe.data.change.instructions import CAPTION, SEGMENT, SEGMENTED
from rsmoe.data.change.phrases import NO_CHANGE
from rsmoe.data.rasters.class_map_sources import ClassMask
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, require_split
from rsmoe.data.readers.karpathy import karpathy_captions, karpathy_rows
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError, require_known

MISSING = ("error", "skip")
"""What to do with a pair whose files are not all there."""


@dataclass(frozen=True)
class _Pair:
    """One row of the json, with its files."""

    name: str
    files: dict[str, Path]  # "before", "after" and one for each of the maps
    captions: tuple[str, ...]
    changed: bool
    no_change: int  # captions that say that nothing changed


class CaptionedPairs(Reader):
    """One "change_caption" sample a pair, with all its sentences as references; kind "changed" or "unchanged".

    ``{"images": [{"filename", "split", "changeflag", "sentences": [{"raw"}, ...]}, ...]}``. Kind is the row's
    ``changeflag`` (0 or 1). Old LEVIR-CC files and DUBAI-CC have none: there a pair is unchanged when each of its
    sentences says so (``no_change``). In LEVIR-CC that is the same, all or none of the five do; of DUBAI-CC's 500
    pairs the annotators of 31 disagree, which count as changed. ``Sample.meta["no_change_sentences"]`` is how many say
    that nothing changed.

    Args:
        split: "train", "val" or "test", as far as the json has it.
        annotations: the json relative to ``root``, or one for each split.
        before, after: folders of the images relative to ``root``; "{split}" stands for the split.
        maps: further folders that every pair has a file in, for readers of pairs with maps (`_class_map`).
        tasks: "change_caption", and for readers with maps "mask": everything that changed, kind "change".
        instruction: the request for a caption.
        no_change: what a sentence is that says that nothing changed: regular expressions that it matches as a whole,
            in lower case and without punctuation.
        missing_images: "error", or "skip": a partial copy is read as far as it goes, and the rest is ``unused``.

    Attributes:
        unused: "empty caption" -> file and position; "not all files are there" -> files, with "skip"; pairs whose files
            are not of one size, with their sizes.
    """

    classes: tuple[str, ...] = ()
    """Of the class map of a reader that has one; the first is "no change"."""

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        annotations: str | Mapping[str, str],
        before: str,
        after: str,
        maps: Mapping[str, str] | None = None,
        tasks: Sequence[str] = ("change_caption",),
        instruction: str = CAPTION,
        no_change: Sequence[str] = NO_CHANGE,
        missing_images: str = "error",
        meta: Mapping[str, object] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_known(f"missing_images of {name}", missing_images, known=MISSING)
        known = ("change_caption", "mask") if self.classes else ("change_caption",)
        require_known(f"task of {name}", *tasks, known=known)
        if not tasks:
            raise UserError(f"{name}: tasks is empty. Name at least one, for instance tasks=[change_caption]")
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self._tasks, self._instruction, self._meta = tuple(tasks), instruction, dict(meta or {})
        self._no_change = [re.compile(pattern) for pattern in no_change]
        if not isinstance(annotations, str):
            require_split(name, split, sorted(annotations))
            annotations = annotations[split]
        rows = karpathy_rows(folder / annotations)
        require_split(name, split, sorted({row["split"] for row in rows}))
        rows = [row for row in rows if row["split"] == split]
        names = [row["filename"] for row in rows]
        if twice := [file for file, times in Counter(names).items() if times > 1]:
            raise UserError(f"{annotations}: {len(twice)} images are listed twice in {split!r}: {', '.join(twice[:5])}")
        roles = {"before": before, "after": after, **(maps or {})}
        folders = {role: folder / path.replace("{split}", split) for role, path in roles.items()}
        files = self._find(folders, names, skip=missing_images == "skip")
        check = PictureCheck(self)
        self._pairs = [
            self._read(row, {role: found[row["filename"]] for role, found in files.items()}, annotations)
            for row in rows
            if row["filename"] in files["before"]
            and check.same_size([found[row["filename"]] for found in files.values()], row["filename"])
        ]
        check.finish()
        self.counts = {
            "pairs": len(self._pairs),
            "changed": sum(pair.changed for pair in self._pairs),
            "unchanged": sum(not pair.changed for pair in self._pairs),
            "captions": sum(len(pair.captions) for pair in self._pairs),
            "empty_captions": len(self.unused.get("empty caption", ())),
        }

    def __len__(self) -> int:
        return len(self._pairs) * len(self._tasks)

    def __getitem__(self, index: int) -> Sample:
        number, turn = divmod(range(len(self))[index], len(self._tasks))
        pair = self._pairs[number]
        class_map = self._class_map(pair.files)
        pictures = pair.files["before"], pair.files["after"]
        shared: dict[str, Any] = {"class_map": class_map, "classes": self.classes}
        shared["meta"] = {**self._meta, "no_change_sentences": pair.no_change}
        if (task := self._tasks[turn]) == "change_caption":
            kind = "changed" if pair.changed else "unchanged"
            return self._make(pair.name, pictures, self._instruction, pair.captions, task, kind=kind, **shared)
        assert class_map is not None
        shared["mask"] = ClassMask(class_map, tuple(range(1, len(self.classes))))
        return self._make(f"{pair.name}:mask", pictures, SEGMENT, (SEGMENTED,), task, kind="change", **shared)

    def _class_map(self, files: Mapping[str, Path]) -> Lazy | None:
        """(H, W) uint8 map of what changed, from the files of a pair by role; its values are those of ``classes``."""
        return None

    def _find(self, folders: Mapping[str, Path], names: list[str], *, skip: bool) -> dict[str, dict[str, Path]]:
        """Role -> name -> file, of the pairs whose files are all there."""
        absent: list[str] = []
        lacking = absent if skip else None
        try:
            files = {
                role: find_images(folder, names, source=self.name, absent=lacking) for role, folder in folders.items()
            }
        except UserError as error:
            raise UserError(f"{error}. Of a partial copy read what is there: data.missing_images=skip") from error
        if not (gone := set(absent)):
            return files
        self.unused["not all files are there"] = sorted(gone)
        files = {role: {name: found[name] for name in names if name not in gone} for role, found in files.items()}
        if not files["before"]:
            looked = ", ".join(map(str, folders.values()))
            raise UserError(f"{self.name}: no pair of {self.split!r} has all its files. Looked in {looked}")
        return files

    def _read(self, row: dict[str, Any], files: dict[str, Path], where: str) -> _Pair:
        name = row["filename"]
        where = f"{where}, image {name!r}"
        captions = karpathy_captions(row, where, self)
        no_change = sum(self._says_no_change(text) for text in captions)
        changed = no_change < len(captions)
        if "changeflag" in row:
            if row["changeflag"] not in (0, 1):
                raise UserError(f"{where}: 'changeflag' should be 0 or 1, found {row['changeflag']!r}")
            changed = bool(row["changeflag"])
        return _Pair(name, files, captions, changed, no_change)

    def _says_no_change(self, text: str) -> bool:
        words = " ".join(re.sub(r"[^a-z0-9 ]", " ", text.lower()).split())
        return any(pattern.fullmatch(words) for pattern in self._no_change)
