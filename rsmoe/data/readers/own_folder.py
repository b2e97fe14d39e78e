"""Custom captioning data: a folder of pictures, with a caption beside each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

from rsmoe.data.files.file_names import SUFFIXES, is_leftover
from rsmoe.data.files.links import require_inside
from rsmoe.data.rasters.raster_images import RasterImages
from rsmoe.data.readers.annotations import data_root, read_lines, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError


class OwnFolder(Reader):
    """A picture and a text file of the same stem, in one folder a split, or below it::

        my_data/train/port.png        my_data/train/port.txt
        my_data/train/ice/a1.jpg      my_data/train/ice/a1.txt

    and type ``data=own_folder data.root=/path/to/my_data``. Every line of a text file is a caption of the picture, all
    of them right. ``Sample.meta["folder"]`` is the sub-folder ("ice"). Of two pictures with one stem the earlier
    suffix of `rsmoe.data.files.file_names.SUFFIXES` is taken.

    Args:
        root: the folder that holds the splits; None means ``$RSMOE_DATA/<name>``.
        images: the folder of a split, relative to ``root``; "." with the ``split`` that it ``holds``.
        holds: the split that the folder is, where ``images`` does not say "{split}".
        raster: how TIFFs are read, see `RasterImages`: bands, stretch and so on; they keep their georeference.

    Attributes:
        unused: pictures without a text, texts without a picture, texts without a caption, and pictures whose stem
            another one has.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "own",
        images: str = "{split}",
        holds: str = "train",
        instruction: str = "Describe this image in one sentence.",
        raster: Mapping[str, Any] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        base = data_root(root, name)
        if "{split}" in images:
            require_split(name, split, sorted(p.name for p in base.iterdir() if p.is_dir()))
        else:
            require_split(name, split, [holds])
        folder = base / images.replace("{split}", split)
        super().__init__(name=name, split=split, official=official)
        self._rasters = RasterImages(raster)
        files = sorted(
            require_inside(p) for p in folder.rglob("*") if p.is_file() and not is_leftover(p.relative_to(folder))
        )
        texts = {_key(p): p for p in files if p.suffix.lower() == ".txt"}
        pictures: dict[Path, Path] = {}
        for suffix in SUFFIXES:
            for path in files:
                if path.suffix.lower() != suffix:
                    continue
                if pictures.setdefault(_key(path), path) is not path:
                    self.leave_out("pictures whose stem another one has", path.relative_to(folder).as_posix())
        for stem, path in sorted(pictures.items()):
            place = path.relative_to(folder)
            captions = tuple(filter(None, read_lines(texts[stem]))) if stem in texts else ()
            if not captions:
                reason = "texts without a caption" if stem in texts else "pictures without a text"
                self.leave_out(reason, place.as_posix())
                continue
            if path.stat().st_size == 0:
                raise UserError(f"{path} is empty (0 bytes). Copy it again")
            meta = {"folder": place.parent.as_posix()} if place.parent != Path() else {}
            self._add(place.as_posix(), (path,), instruction, captions, "caption", meta=meta)
        for stem in sorted(texts.keys() - pictures.keys()):
            self.leave_out("texts without a picture", texts[stem].relative_to(folder).as_posix())
        if not self._samples:
            raise UserError(
                f"{folder} holds {len(pictures)} pictures and {len(texts)} texts, and no picture with a caption. "
                f"Write the caption of port.png into port.txt; pictures are {', '.join(SUFFIXES)}"
            )
        self.counts = {"images": len(self._samples), "captions": sum(len(s.responses) for s in self._samples)}

    def __getitem__(self, index: int) -> Sample:
        return self._rasters(self._samples[index])


def _key(path: Path) -> Path:
    """What a picture and its text share; an accent is one letter or two, by the system that wrote the name."""
    return path.with_name(normalize("NFC", path.stem))
