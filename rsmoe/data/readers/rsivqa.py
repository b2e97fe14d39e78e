"""RSIVQA: questions and answers in text files, over the images of caption releases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rsmoe.data.files.file_names import stem
from rsmoe.data.files.text_files import stripped
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, other_root, read_lines, require_split
from rsmoe.data.readers.karpathy import karpathy_rows
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError

_LINE = re.compile(r"(?P<file>[^:?]+):(?P<question>[^?]+\?)(?P<answer>[^?]*\S[^?]*)")

_KINDS = (
    ("theme", re.compile(r"\btheme\b", re.IGNORECASE)),
    ("count", re.compile(r"^how many\b", re.IGNORECASE)),
    ("location", re.compile(r"\blocation\b|^where\b", re.IGNORECASE)),
    ("presence", re.compile(r"\bcontain|^(is|are) there\b", re.IGNORECASE)),
)


class RSIVQA(Reader):
    """One sample a line of ``<file>:<question>?<answer>``.

    The release has no split of its own: a question belongs to the split of its image in the caption release that the
    images come from, so that captions and questions of one image never end on different sides. Images are matched by
    stem. Kinds are read off the question: "theme", "presence", "count", "location", else "other".

    Known noise, kept because published numbers include it: 294 questions of ``ucm_res.txt`` lost their noun ("How many
    in the picture?": ``Sample.meta["noun_missing"]``), its theme questions repeat those of ``ucm_vqa.txt`` for 559
    images, and some answers are misspelt. White space is made single, nothing else is changed.

    Args:
        split: a split of the caption release.
        files: text files, relative to ``root``.
        images_root: folder of the caption release; None means the folder ``images_name`` beside this one, or
            ``$RSMOE_DATA/<images_name>``.
        images_name: short name of the caption release.
        images: its folder of images.
        splits: its Karpathy json.

    Attributes:
        unused: nothing; noise is kept.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str,
        files: Sequence[str],
        images_root: str | None = None,
        images_name: str,
        images: str = "images",
        splits: str,
        kinds: Sequence[str] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, "rsivqa")
        super().__init__(name=name, split=split, official=official)
        pictures = other_root(images_root, images_name, folder=folder, root=root)
        split_of = {stem(row["filename"]): row["split"] for row in karpathy_rows(pictures / splits)}
        require_split(name, split, sorted(set(split_of.values())))
        rows = [row for file in files for row in _read(folder / file)]
        stray = sorted({file for _, file, _, _ in rows if stem(file) not in split_of})
        if stray:
            raise UserError(f"{name}: {len(stray)} images are not in {pictures / splits}: {', '.join(stray[:5])}")
        rows = [row for row in rows if split_of[stem(row[1])] == split]
        rows = [row for row in rows if kinds is None or question_kind(row[2]) in kinds]
        if not rows:
            wanted = f" of kind {', '.join(kinds)}" if kinds is not None else ""
            raise UserError(
                f"{name}: no question{wanted} in split {split!r}; known kinds: theme, presence, count, location, other"
            )
        paths = find_images(pictures / images, [row[1] for row in rows], source=name)
        self.counts = dict(Counter(question_kind(question) for _, _, question, _ in rows))
        self._samples = [
            self._make(
                place,
                (paths[file],),
                " ".join(question.split()),
                (answer,),
                "vqa",
                kind=question_kind(question),
                directional=question_kind(question) == "location",
                meta={"noun_missing": True} if "  " in question else {},
            )
            for place, file, question, answer in rows
        ]


def question_kind(question: str) -> str:
    """ "theme", "count", "location", "presence" or "other", from the wording."""
    return next((kind for kind, pattern in _KINDS if pattern.search(question)), "other")


def _read(path: Path) -> list[tuple[str, str, str, str]]:
    """(id, image file, question, answer) of every line; the id is the file's stem and the line number."""
    rows, wrong = [], []
    for number, line in enumerate(read_lines(path), start=1):
        match = _LINE.fullmatch(line)
        if match:
            file, question, answer = (stripped(match[key]) for key in ("file", "question", "answer"))
            rows.append((f"{path.stem}:{number}", file, question, " ".join(answer.split())))
        elif line:
            wrong.append(f"line {number} {line[:60]!r}")
    if wrong:
        raise UserError(
            f"{path}: {len(wrong)} lines are not <file>:<question>?<answer>: {'; '.join(wrong[:5])}. Mend them"
        )
    if not rows:
        raise UserError(f"{path} holds no question. Download it again")
    return rows
