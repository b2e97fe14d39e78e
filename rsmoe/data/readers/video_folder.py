"""Aerial videos as folders of frames, with captions: CapERA, and custom ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsmoe.checks.ranges import Fraction, Positive
from rsmoe.data.files.file_names import SUFFIXES, FolderFiles, listed
from rsmoe.data.files.values import text_of
from rsmoe.data.readers.annotations import data_root, field, identity, read_json, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.splits import held_out, require_fractions
from rsmoe.errors import UserError

_SUFFIX = re.compile(r"\.(mp4|avi|mov|mkv|webm)$", re.IGNORECASE)


class VideoFolder(Reader):
    """One sample a video: ``frames`` pictures evenly spaced over it, with all its captions as references.

    Frames lie in ``<videos>/<video>/``, ordered by the numbers in their names (``f2.jpg`` before ``f10.jpg``). Of L
    frames the ones at ``floor((i + 0.5) L / T)`` are taken. Captions are either CapERA's list, ``[{"video_id":
    "Fire_001.mp4", "annotation": {"English_caption": "..." or ["...", ...]}}]``, or an object of one's own,
    ``{"Fire_001": ["...", ...]}``; the suffix of a video file is dropped.

    The keys of CapERA are those that a public loader reads. The release has mp4 files; make the frames once, four a
    second::

        mkdir -p frames/Fire_001 && ffmpeg -i Fire_001.mp4 -vf fps=4 frames/Fire_001/%03d.jpg

    Args:
        split: a key of ``annotations``, or "val".
        annotations: split -> json, relative to ``root``.
        videos: the folder that holds a folder of frames for each video, relative to ``root``.
        frames: T, how many frames of a video are taken.
        val_fraction: where ``annotations`` has no "val", the share of the videos of "train" that becomes one, see
            `held_out`; 0 trains on all.

    Attributes:
        unused: "empty caption" -> videos.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        annotations: Mapping[str, str],
        videos: str = "frames",
        frames: Positive = 8,
        val_fraction: Fraction = 0.0,
        instruction: str = "Describe this video in one sentence.",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_fractions(name, val_fraction=val_fraction)
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        carved = "val" not in annotations and val_fraction > 0
        require_split(name, split, sorted({*annotations, "val"} if carved else annotations))
        file = annotations["train" if carved and split == "val" else split]
        captions = _captions(folder / file)
        if carved and split in ("train", "val"):
            held = held_out(captions, val_fraction)
            captions = {video: texts for video, texts in captions.items() if (video in held) == (split == "val")}
        chosen = _frames(folder / videos, list(captions), frames, name)
        for video, texts in captions.items():
            responses = self._captions(texts, f"{file}, video {video!r}", video)
            self._add(video, tuple(chosen[video]), instruction, responses, "caption")
        if not self._samples:
            raise UserError(f"{name}: split {split!r} of {file} holds no video")
        self.counts = {
            "videos": len(self._samples),
            "images": sum(len(s.images) for s in self._samples),
            "captions": sum(len(s.responses) for s in self._samples),
        }


def _captions(path: Path) -> dict[str, list[str]]:
    """Video -> captions, of either form."""
    content = read_json(path)
    pairs: list[tuple[str, Any]]
    if isinstance(content, dict):
        pairs = list(content.items())
    elif isinstance(content, list):
        pairs = []
        for i, row in enumerate(content):
            where = f"{path.name}[{i}]"
            texts = field(field(row, "annotation", dict, where), "English_caption", object, f"{where}.annotation")
            pairs.append((identity(row, "video_id", where), texts))
    else:
        raise UserError(f"{path} should be a list or an object of videos, found {type(content).__name__}")
    captions: dict[str, list[str]] = {}
    for key, texts in pairs:
        video = _SUFFIX.sub("", key.strip()).strip()
        if video in captions:
            raise UserError(f"{path.name}: video {video!r} is there twice")
        written = [texts] if isinstance(texts, str) else texts
        if not isinstance(written, list) or not all(isinstance(text, str) for text in written):
            raise UserError(f"{path.name}: the captions of {video!r} should be texts, found {str(texts)[:40]!r}")
        captions[video] = [text_of(text, f"{path.name}: a caption of {video!r}") for text in written]
    return captions


def _frames(folder: Path, videos: list[str], count: int, name: str) -> dict[str, list[Path]]:
    """The frames of every video that are taken."""
    if not folder.is_dir():
        raise UserError(f"{name}: the folder {folder} does not exist. Make the frames there, a folder for each video")
    folders = FolderFiles(folder, source=name)
    chosen: dict[str, list[Path]] = {}
    few: list[str] = []
    for video in videos:
        place = folders.find_folder(video)
        pictures = sorted(listed(place, *SUFFIXES), key=_order) if place is not None else []
        if len(pictures) < count:
            few.append(f"{video} ({len(pictures)})")
        else:
            chosen[video] = [pictures[(2 * i + 1) * len(pictures) // (2 * count)] for i in range(count)]
    if few:
        raise UserError(
            f"{name}: {len(few)} of {len(videos)} videos have less than {count} frames in {folder}: "
            f"{', '.join(few[:5])}. Make more frames, or ask for fewer: data.frames={max(count // 2, 1)}"
        )
    return chosen


def _order(path: Path) -> tuple[tuple[int, str], ...]:
    """Digits as numbers."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.stem))
