"""DIOR-RSVG: expressions that refer to one object each, in VOC xml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsmoe.data.files.file_names import listed
from rsmoe.data.files.text_files import read_text
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.voc_xml import VOCObject, read_voc
from rsmoe.errors import UserError, require_known


class DIORRSVG(Reader):
    """One sample an expression, with the box of the object that it refers to.

    ``Annotations/00001.xml``: <filename>, <size> with <width> and <height>, and <object>s with <name>, <bndbox>
    (<xmin> <ymin> <xmax> <ymax>, pixels) and <description>. ``train.txt``, ``val.txt`` and ``test.txt`` hold one number
    a line, and these are **not** images: the release's loader counts the objects of all xml files, from 0, file after
    file, and the number is that count. Its file order is that of the disk; here it is by name, which is the order it
    was made with. So the folder of annotations has to be complete, and a number beyond the last object is an error.
    Expressions of one image can lie in different splits.

    Annotations and splits were replaced on 2023-04-10: older downloads give other numbers.

    Args:
        annotations: folder of the xml files, relative to ``root``.

    Attributes:
        unused: "no expression" -> objects of this split whose description is empty; what `PictureCheck` leaves out:
            pictures of another size than stated, boxes without an area or outside -> file, picture, object.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "dior_rsvg",
        annotations: str = "Annotations",
        images: str = "JPEGImages",
        splits: Mapping[str, str],
        convention: str = "minigpt",
        prompt: str = "Where is this: {expression}?",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        require_known(f"split of {name}", split, known=splits)
        wanted = _numbers(folder / splits[split])
        objects = _objects(folder / annotations)
        beyond = [number for number in wanted if number >= len(objects)]
        if beyond:
            raise UserError(
                f"{folder / splits[split]}: {len(beyond)} of {len(wanted)} numbers count beyond the {len(objects)} "
                f"objects of {folder / annotations}: {beyond[:5]}. Annotations are missing, or of another version than "
                "the split: download both again"
            )
        paths = find_images(folder / images, [objects[number].file for number in wanted], source=name)
        check = PictureCheck(self, remedy="Boxes are xmin ymin xmax ymax in pixels")
        fits: dict[str, bool] = {}
        for number in wanted:
            one = objects[number]
            place = f"{one.xml}, {one.file}, object {number}"
            if not one.expression:
                self.leave_out("no expression", str(number))
                continue
            if one.file not in fits:
                fits[one.file] = check.picture(paths[one.file], one.size_px, f"{one.xml}, {one.file}")
            if not fits[one.file]:
                continue
            held = check.boxes(np.array([one.box]), one.size_px, [place])
            if not len(held.kept):
                continue
            sample = self._make_ground(
                str(number),
                paths[one.file],
                one.size_px,
                prompt.format(expression=one.expression.rstrip(". ")),
                held.boxes,
                convention=convention,
                labels=(one.name,),
                kind=one.name,
            )
            self._samples.append(sample)
        check.finish()
        if not self._samples:
            raise UserError(f"{name}: split {split!r} holds no expression")
        self.counts = {"images": len({s.images[0] for s in self._samples}), "expressions": len(self._samples)}


def _numbers(path: Path) -> list[int]:
    words = read_text(path).split()
    wrong = [word for word in words if not word.isdecimal()]
    if wrong or not words or len(set(words)) < len(words):
        raise UserError(
            f"{path} should hold one number of an object a line, none twice; found {len(words)} words, "
            f"{len(wrong)} of them no numbers ({', '.join(wrong[:5])})"
        )
    return [int(word) for word in words]


def _objects(folder: Path) -> list[VOCObject]:
    """Every object of every file, in the order that the split files count."""
    files = listed(folder, ".xml") if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder} holds no xml file. Unpack the annotations there")
    return [one for path in files for one in read_voc(path, described=True)]
