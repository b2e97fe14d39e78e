"""NWPU-Captions: five sentences for each image of NWPU-RESISC45."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, identity, read_json, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError

_SENTENCES = ("raw", "raw_1", "raw_2", "raw_3", "raw_4")


class NWPUCaptions(Reader):
    """``{scene class: [{"filename", "split", "raw", "raw_1", "raw_2", "raw_3", "raw_4"}, ...]}``, images by class.

    The image ``airplane_111.jpg`` has captions, but is not in the release. The scene class is in
    ``Sample.meta["scene_class"]``. The format is what public loaders of the release read.

    Args:
        images: the folder that holds a folder of images for each class, relative to ``root``.
        absent: files that the release itself lacks: left out when they are not there. Any other is an error.

    Attributes:
        unused: "image not in the release", "empty caption" -> files.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "nwpu_captions",
        annotations: str = "dataset_nwpu.json",
        images: str = "NWPU_images",
        absent: Sequence[str] = ("airplane_111.jpg",),
        instruction: str = "Describe this image in one sentence.",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        content = read_json(folder / annotations)
        if not isinstance(content, dict):
            raise UserError(f"{annotations} should be an object of scene classes, found {type(content).__name__}")
        rows = []
        for scene in content:
            for i, row in enumerate(field(content, scene, list, annotations)):
                where = f"{annotations}, {scene!r}[{i}]"
                file, part = identity(row, "filename", where), field(row, "split", str, where)
                rows.append((scene, file, part, row, where))
        require_split(name, split, sorted({part for _, _, part, _, _ in rows}))
        rows = [row for row in rows if row[2] == split]
        lacking = [f for s, f, *_ in rows if f in absent and not (folder / images / s / f).is_file()]
        if lacking:
            self.unused["image not in the release"] = lacking
            rows = [row for row in rows if row[1] not in lacking]
        paths = find_images(folder / images, [f"{scene}/{file}" for scene, file, *_ in rows], source=name, flat=False)
        for scene, file, _, row, where in rows:
            written = [field(row, key, str, where) for key in _SENTENCES]
            captions = self._captions(written, where, file)
            self._add(
                f"{scene}/{file}",
                (paths[f"{scene}/{file}"],),
                instruction,
                captions,
                "caption",
                meta={"scene_class": scene.replace("_", " ")},
            )
        self.counts = {"images": len(rows), "captions": sum(len(s.responses) for s in self._samples)}
