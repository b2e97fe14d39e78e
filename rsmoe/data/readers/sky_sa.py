"""Sky-SA: open-vocabulary segmentation, with a list of classes for every image."""

from __future__ import annotations

from collections.abc import Mapping

from rsmoe.data.files.file_names import stem
from rsmoe.data.files.json_text import read_jsonl
from rsmoe.data.rasters.class_map_sources import ClassMask, IndexMap
from rsmoe.data.rasters.images import find_images
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.readers.annotations import data_root, field, identity, require_split
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError


class SkySA(Reader):
    """One sample for each class of an image, "Segment the <class>.", from ``skysa_dataset.jsonl``.

    A line is ``{"flickr_url": image path, "segmentation": mask path, "ann_list": [{"category_name"}, ...]}``. In the
    mask, pixel value k (from 0) is the k-th entry of the line's own ``ann_list``, and 255 is ignored; any further value
    is an error when the mask is read. A name that is listed twice is one class with the pixels of both. Paths are those
    of the authors' machine: files are matched by stem in ``img_dir`` and ``ann_dir``. A line without classes is left
    out, as in the authors' loader.

    The release's code trains and tests on one file, so here the only split is "train". The graph of look-alike classes,
    ``skysa_graph.jsonl``, is not read here.

    Args:
        split: must be "train".
        annotations: the file of lines, relative to ``root``.

    Attributes:
        unused: images without classes; those whose mask is of another size, with both.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "sky_sa",
        annotations: str = "skysa_dataset.jsonl",
        images: str = "img_dir",
        masks: str = "ann_dir",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        require_split(name, split, ["train"])
        super().__init__(name=name, split=split, official=official)
        rows = []
        for where, row in read_jsonl(folder / annotations):
            image, mask = (identity(row, key, where) for key in ("flickr_url", "segmentation"))
            entries = field(row, "ann_list", list, where)
            listed = [field(e, "category_name", str, f"{where}, ann_list[{i}]").strip() for i, e in enumerate(entries)]
            if not all(listed):
                raise UserError(f"{where}: ann_list[{listed.index('')}] has an empty category_name")
            if len(listed) > UNKNOWN:
                raise UserError(f"{where}: {len(listed)} classes in one image; pixel values tell {UNKNOWN} apart")
            if listed:
                rows.append((image, mask, listed))
            else:
                self.leave_out("no class", image)
        paths = find_images(folder / images, [image for image, _, _ in rows], source=name)
        targets = find_images(folder / masks, [mask for _, mask, _ in rows], source=f"{name} (masks)")
        check = PictureCheck(self)
        rows = [row for row in rows if check.same_size((paths[row[0]], targets[row[1]]), row[0])]
        check.finish()
        self._rows: list[tuple[str, IndexMap, tuple[str, ...], int]] = []
        for image, mask, listed in rows:
            classes = tuple(dict.fromkeys(listed))
            remap = {value: classes.index(each) for value, each in enumerate(listed)}
            source = IndexMap(targets[mask], remap, (UNKNOWN,), image=paths[image])
            self._rows += [(stem(image), source, classes, k) for k in range(len(classes))]
        if not self._rows:
            raise UserError(f"{folder / annotations} names no class. Download it again")
        self.counts = {
            "images": len(rows),
            "regions": sum(len(listed) for _, _, listed in rows),
            "classes": len({each for _, _, listed in rows for each in listed}),
            "requests": len(self._rows),
        }

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        stem, source, classes, k = self._rows[index]
        assert source.image is not None
        return self._make(
            f"{stem}:{classes[k]}",
            (source.image,),
            f"Segment the {classes[k]}.",
            (f"the {classes[k]} is here [SEG]",),
            "mask",
            kind=classes[k],
            mask=ClassMask(source, (k,)),
            class_map=source,
            classes=classes,
        )
