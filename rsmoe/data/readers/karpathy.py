"""Caption releases in Karpathy's json: UCM-Captions, Sydney-Captions, RSICD, RSITMD."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsmoe.checks.ranges import Fraction
from rsmoe.data.files.csv_files import read_csv
from rsmoe.data.files.file_names import stem
from rsmoe.data.files.text_files import stripped
from rsmoe.data.files.values import text_of
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import captions_of, data_root, field, identity, read_json, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.splits import held_out, require_fractions
from rsmoe.errors import UserError


class KarpathyCaptions(Reader):
    """One sample per image, with all its sentences as references.

    ``{"images": [{"filename", "split", "sentences": [{"raw"}, ...]}, ...]}``; sentences are taken from ``raw``, as
    written. Images are matched by stem: the UCM json says ``101.tif`` where downloads hold ``101.jpg``.

    Args:
        split: "train", "val" or "test", as far as the json has it.
        classes: a json {file: class}, or a csv with the columns "filename" and "class", relative to ``root``; where it
            exists, ``Sample.meta["scene_class"]`` is set.
        val_fraction: where the json has no split "val", the share of its "train" images that becomes one, see
            `held_out`; 0 trains on all.

    Attributes:
        unused: "empty caption" -> file and position of the sentence.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        annotations: str,
        images: str = "images",
        classes: str | None = None,
        instruction: str = "Describe this image in one sentence.",
        val_fraction: Fraction = 0.0,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_fractions(name, val_fraction=val_fraction)
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        rows = karpathy_rows(folder / annotations)
        if all(row["split"] != "val" for row in rows):
            held = held_out((row["filename"] for row in rows if row["split"] == "train"), val_fraction)
            rows = [row | {"split": "val"} if row["filename"] in held else row for row in rows]
        require_split(name, split, sorted({row["split"] for row in rows}))
        rows = [row for row in rows if row["split"] == split]
        paths = find_images(folder / images, [row["filename"] for row in rows], source=name)
        scenes = _scene_classes(folder / classes) if classes is not None and (folder / classes).exists() else {}
        self.counts = {"images": len(rows), "captions": 0}
        for row in rows:
            file = row["filename"]
            where = f"{annotations}, image {file!r}"
            captions = karpathy_captions(row, where, self)
            self.counts["captions"] += len(captions)
            self._add(
                file,
                (paths[file],),
                instruction,
                captions,
                "caption",
                meta={"scene_class": scenes[stem(file)]} if stem(file) in scenes else {},
            )
        self.counts["empty_captions"] = len(self.unused.get("empty caption", ()))


def karpathy_rows(path: Path) -> list[dict[str, Any]]:
    """The images of a Karpathy json, each checked to have "filename" and "split"; other keys as they are.

    Raises:
        UserError: naming the key that is missing.
    """
    rows = field(read_json(path), "images", list, path.name)
    for i, row in enumerate(rows):
        field(row, "split", str, f"{path.name}, images[{i}]")
    return [row | {"filename": identity(row, "filename", f"{path.name}, images[{i}]")} for i, row in enumerate(rows)]


def karpathy_captions(row: dict[str, Any], where: str, reader: Reader) -> tuple[str, ...]:
    """The sentences of one image; the reader leaves empty ones out.

    Raises:
        UserError: for another format, and an image without a sentence.
    """
    written = [field(s, "raw", str, where) for s in field(row, "sentences", list, where)]
    empty = [f"{row['filename']}, sentence {i}" for i, text in enumerate(written) if not stripped(text)]
    reader.leave_out("empty caption", *empty)
    return captions_of(written, where)


def _scene_classes(path: Path) -> dict[str, str]:
    """Scene class by stem of the file name."""
    if path.suffix == ".json":
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(f"{path} should be an object of file names and classes, found {type(content).__name__}")
        return {stem(file): text_of(scene, f"{path.name}, {file!r}", number=True) for file, scene in content.items()}
    return {stem(row["filename"]): row["class"] for _, row in read_csv(path, columns=("filename", "class"))}
