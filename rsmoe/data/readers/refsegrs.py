"""RefSegRS: phrases in text files, over images and binary masks of one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rsmoe.checks.ranges import NonNegative
from rsmoe.data.rasters.images import find_images
from rsmoe.data.rasters.mask_sources import FileMask
from rsmoe.data.readers.annotations import data_root, read_lines, require_split
from rsmoe.data.readers.picture_check import PictureCheck
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError


class RefSegRS(Reader):
    """One sample a line of ``<id> <phrase>``: "Segment <phrase>." with the mask ``masks/<id>.tif``.

    The image is ``images/<id>.tif``; the files of lines are ``output_phrase_{train,val,test}.txt``. A line belongs to
    one image and one mask, and images that are cut from one tile repeat under several ids. The layout is that of the
    authors' loader, which takes mask pixels above 50 as inside; the specification has none.

    Args:
        lines: the file of each split, relative to ``root``.
        above: mask pixels greater than this are inside.

    Attributes:
        unused: images whose mask is of another size, with both sizes.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "refsegrs",
        lines: Mapping[str, str],
        images: str = "images",
        masks: str = "masks",
        above: NonNegative = 50,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        require_split(name, split, sorted(lines))
        super().__init__(name=name, split=split, official=official)
        path = folder / lines[split]
        rows = []
        for number, line in enumerate(read_lines(path), start=1):
            if line:
                stem, _, phrase = line.partition(" ")
                rows.append((number, stem, " ".join(phrase.split()).rstrip(". ")))
        wrong = [f"line {number} {stem!r}" for number, stem, phrase in rows if not phrase]
        if wrong:
            raise UserError(f"{path}: {len(wrong)} lines are not <id> <phrase>: {'; '.join(wrong[:5])}. Mend them")
        if not rows:
            raise UserError(f"{path} holds no line. Download it again")
        stems = [stem for _, stem, _ in rows]
        pictures = find_images(folder / images, stems, source=name)
        targets = find_images(folder / masks, stems, source=f"{name} (masks)")
        check = PictureCheck(self)
        fits = {key: check.same_size((pictures[key], targets[key]), key) for key in pictures}
        check.finish()
        rows = [row for row in rows if fits[row[1]]]
        repeated = Counter(key for _, key, _ in rows)
        self.counts = {"images": len(repeated), "phrases": len(rows)}
        self._samples = [
            self._make(
                stem if repeated[stem] == 1 else f"{stem}:{number}",
                (pictures[stem],),
                f"Segment {phrase}.",
                (f"here: {phrase} [SEG]",),
                "mask",
                mask=FileMask(targets[stem], above=above, image=pictures[stem]),
            )
            for number, stem, phrase in rows
        ]
