"""What all readers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from rsmoe.data.boxes import convention as named
from rsmoe.data.boxes import hbb_of_obb, write
from rsmoe.data.readers.annotations import captions_of, is_directional
from rsmoe.data.sample import Lazy, Sample


class Reader(Dataset[Sample]):
    """A release on disk, one split of it; the contract is that of `rsmoe.data`.

    Size, licence and citation of a release stand in the head of its yaml in ``conf/data``. A reader that makes its
    samples when they are asked for has a ``__len__`` and a ``__getitem__`` of its own. What follows is the same for all
    of them; each names what it has besides.

    Args:
        root: folder of the release, or the one above that holds it as ``name``; None means ``$RSMOE_DATA/<name>``.
        split: of the release.
        name: short name, which becomes `Sample.source`: what the numbers are called by.
        annotations, images, masks: files and folders of the release, relative to ``root``.
        instruction: the request of every sample.
        convention: how boxes are answered, see `rsmoe.data.boxes`.
        kinds: of `Sample.kind` to keep; None keeps all.
        meta: goes to every ``Sample.meta``: {gsd_m: 0.5}.
        official: split -> counts as the release states them; "all" is the release as a whole.

    Attributes:
        counts: what was read.
        official: as given.
        unused: reason -> ids or rows that could not be used, by a rule that the format documents.

    Raises:
        UserError: a missing folder or file; another format, naming the place and the key; an unknown split, task, kind
            or option; pictures that are missing or empty (counted, five named); most annotations of another picture
            than theirs (`PictureCheck`); nothing to use.
    """

    protocol: str = ""
    """Prefix of every number that is measured on it."""

    def __init__(self, *, name: str, split: str, official: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self.name, self.split = name, split
        self.official = dict(official or {})
        self.counts: dict[str, int] = {}
        self.unused: dict[str, list[str]] = {}
        self._samples: list[Sample] = []

    def _make(
        self,
        id: str,
        images: Sequence[Path | np.ndarray | Lazy],
        instruction: str,
        responses: Sequence[str],
        task: str,
        *,
        history: tuple[tuple[str, str], ...] = (),
        directional: bool = False,
        **fields: Any,
    ) -> Sample:
        """A sample of this release; one whose words name a side or a direction is directional without being told."""
        words = (instruction, *responses, *(text for turn in history for text in turn))
        return Sample(
            id=id,
            images=tuple(images),
            instruction=instruction,
            responses=tuple(responses),
            task=task,
            source=self.name,
            history=history,
            directional=directional or is_directional(*words),
            **fields,
        )

    def _add(
        self,
        id: str,
        images: Sequence[Path | np.ndarray | Lazy],
        instruction: str,
        responses: Sequence[str],
        task: str,
        **fields: Any,
    ) -> None:
        """Keeps a sample of `_make`."""
        self._samples.append(self._make(id, images, instruction, responses, task, **fields))

    def _make_ground(
        self,
        id: str,
        image: Path,
        size_px: tuple[int, int],
        instruction: str,
        boxes: np.ndarray,
        *,
        convention: str,
        meta: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Sample:
        """One request for boxes; its response is their text.

        ``meta["box_convention"]`` and ``meta["size_px"]`` say how an answer is to be read. Such a sample is never
        turned or cropped (``directional``): the coordinates in its words would no longer be true.

        Args:
            size_px: (width, height) of the picture.
            boxes: (n, 4) ``x1 y1 x2 y2`` or (n, 5) ``cx cy w h angle_deg``, float pixels; of oriented boxes the
                horizontal ones around them are kept beside, and answered under a convention of such.
        """
        oriented = boxes.shape[1] == 5
        upright = hbb_of_obb(boxes).clip(0, [*size_px, *size_px]) if oriented else boxes
        answer = write(boxes if named(convention).oriented else upright, convention=convention, size_px=size_px)
        return self._make(
            id,
            (image,),
            instruction,
            (answer,),
            "ground",
            directional=True,
            boxes_px=upright.astype(np.float32),
            obb_px=boxes.astype(np.float32) if oriented else None,
            meta={"box_convention": convention, "size_px": tuple(size_px), **(meta or {})},
            **fields,
        )

    def leave_out(self, reason: str, *names: str) -> None:
        """Notes what is not used."""
        if names:
            self.unused.setdefault(reason, []).extend(names)

    def _captions(self, written: Sequence[Any], where: str, name: str) -> tuple[str, ...]:
        """`captions_of`; that an empty sentence was left out is noted under ``name``."""
        captions = captions_of(written, where)
        if len(captions) < len(written):
            self.leave_out("empty caption", name)
        return captions

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def left_out(data: Any) -> str:
    """Samples that a data set left out, on one line: number and first of each reason; "" for none."""
    unused = {reason: names for reason, names in getattr(data, "unused", {}).items() if names}
    line = ", ".join(f"{len(names):,} {reason} ({str(names[0])[:120]})" for reason, names in unused.items())
    return "".join(char if char.isprintable() else "?" for char in line)  # names of files may hold anything
