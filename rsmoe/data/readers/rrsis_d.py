"""RRSIS-D: referring expressions on DIOR, with masks, in the format of the REFER tools."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsmoe.data.files.text_files import stripped
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import (
    data_root,
    field,
    identity,
    read_json,
    require_file,
    require_split,
    rows_by_id,
)
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError


class RRSISD(Reader):
    """Referring segmentation, one sample a sentence: "Segment <sentence>." with the mask of its object.

    ``rrsisd/instances.json`` is COCO's: ``images`` (id, file_name, height, width), ``annotations`` (id, image_id,
    category_id, segmentation), ``categories`` (id, name). A segmentation is a list of polygons or of run-length codes,
    or one code; the mask is their union. ``rrsisd/refs(unc).p`` is a pickled list of ``{"ref_id", "ann_id",
    "image_id", "split", "sentences": [{"raw", ...}]}``; a json with the same content is read too. Images are in
    ``images/rrsisd/JPEGImages``. The layout is that of RMSIN's loader, for the specification has none.

    A pickle can run code. This one is read with everything but plain lists, dicts, strings and numbers refused.

    Where masks of one annotation overlap, RMSIN's loader adds them up and takes the pixels that are 1, so that it loses
    the overlap; here it is inside.

    Args:
        refs: the file of the sentences, ".p" or ".json", relative to ``root``.
        instances: the file of the masks, relative to ``root``.

    Attributes:
        unused: sentences that are empty; masks that are none of their pictures, and pictures of another size than
            stated (`PictureCheck`) -> file, annotation, picture.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "rrsis_d",
        refs: str = "rrsisd/refs(unc).p",
        instances: str = "rrsisd/instances.json",
        images: str = "images/rrsisd/JPEGImages",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        rows = _read_refs(folder / refs)
        places = [f"{Path(refs).name}, [{i}]" for i in range(len(rows))]
        splits = [field(row, "split", str, place) for row, place in zip(rows, places, strict=True)]
        require_split(name, split, sorted(set(splits)))
        coco = read_json(folder / instances)
        pictures, annotations, categories = (
            rows_by_id(coco, key, Path(instances).name) for key in ("images", "annotations", "categories")
        )
        chosen = [(row, place) for row, place, of in zip(rows, places, splits, strict=True) if of == split]
        targets = []
        for row, place in chosen:
            annotation = _look_up(annotations, row, "ann_id", place)
            picture = _look_up(pictures, row, "image_id", place)
            targets.append((annotation, picture, identity(picture, "file_name", f"{instances}, image of {place}")))
        paths = find_images(folder / images, [file for _, _, file in targets], source=name)
        self.counts = {"images": len(paths), "references": len(chosen), "sentences": 0}
        check, fits = PictureCheck(self), dict[str, bool]()
        seen: dict[str, Any] = {}
        for (row, place), (annotation, picture, file) in zip(chosen, targets, strict=True):
            where = f"{Path(instances).name}, annotation {annotation['id']}"
            category = field(_look_up(categories, annotation, "category_id", where), "name", str, where)
            width, height = (field(picture, side, int, f"{where}, its image") for side in ("width", "height"))
            size = width, height
            if file not in fits:
                fits[file] = check.picture(paths[file], size, f"{Path(instances).name}, {file}")
            if not fits[file]:
                continue
            mask = check.mask(annotation.get("segmentation"), size, paths[file], f"{where}, {file}")
            if mask is None:
                continue
            number = identity(row, "ref_id", place)
            if seen.setdefault(number, row) is not row:
                if seen[number] == row:
                    check.leave_out("there twice", f"{place}, ref_id {number}")
                    continue
                number = f"{number}/{place}"  # another reference: the id is only what its answer is known by
            for i, sentence in enumerate(field(row, "sentences", list, place)):
                key = f"{number}:{i}"
                text = stripped(field(sentence, "raw", str, f"{place}.sentences[{i}]")).rstrip(".").strip()
                if not text:
                    self.leave_out("empty sentence", key)
                    continue
                self.counts["sentences"] += 1
                self._add(
                    key,
                    (paths[file],),
                    f"Segment {text}.",
                    (f"the {category} is here [SEG]",),
                    "mask",
                    kind=category,
                    mask=mask,
                )
        check.finish()
        if not self._samples:
            raise UserError(f"{name}: split {split!r} holds no sentence")


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, strings and numbers; refuses every class and function, which is how a pickle runs code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _read_refs(path: Path) -> list[Any]:
    if path.suffix == ".json":
        rows = read_json(path)
    else:
        try:
            with require_file(path).open("rb") as file:
                rows = _PlainUnpickler(file, encoding="utf-8").load()
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} is no pickle of plain lists and dicts: {error}. Download it again") from error
    if not isinstance(rows, list):
        raise UserError(f"{path} should hold a list of references, found {type(rows).__name__}")
    return rows


def _look_up(table: Mapping[str, dict[str, Any]], row: Any, key: str, where: str) -> dict[str, Any]:
    number = identity(row, key, where)
    if number not in table:
        raise UserError(f"{where}: {key} {number} is not in instances.json. The two files are not of one release")
    return table[number]
