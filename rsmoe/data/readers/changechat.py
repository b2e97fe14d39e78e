"""ChangeChat-105k: captions, questions and dialogues on the pairs of LEVIR-CC."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsmoe.data.change.answers import read_target
from rsmoe.data.change.instructions import CAPTION, KINDS, question_kind
from rsmoe.data.change.phrases import NO_CHANGE
from rsmoe.data.files.json_text import read_rows
from rsmoe.data.files.text_files import stripped
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, other_root, require_split
from rsmoe.data.readers.captioned_pairs import MISSING
from rsmoe.data.readers.conversations import DialogueForm, read_dialogue
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError, require_known


@dataclass(frozen=True)
class _Row:
    """One record, as small as it goes: the release has 105,107."""

    id: str
    kind: str  # of KINDS
    images: tuple[str, str]
    turns: tuple[tuple[str, tuple[str, ...]], ...]  # question, answers
    changed: bool


class ChangeChat(Reader):
    """Six tasks; one sample an answered turn, earlier turns are its history.

    ``[{"id", "image": [before, after], "changeflag", "conversations": [{"from": "human", "value"}, ...]}, ...]``, and
    for the captions of the test part ``{"image_A", "image_B", "captions", "changeflag"}``. ``<image>`` is taken out of
    the texts, nothing is cut. Tasks and kinds as `rsmoe.data.change.instructions.instructions` has them: captions are
    "change_caption" ("changed" or "unchanged" by the flag; by LEVIR-CC's five sentences where there is none), all else
    "change_vqa". In a file of mixed tasks the kind follows from ChangeChat's fixed questions; a dialogue has several
    turns; any other question is "open".

    ``Sample.meta["asks"]`` is what a turn asks for; "changed", "change_counts" {"road": 2, "building": 0} and
    "change_cells" {"road": ("top-left",), "building": ()} are its answer as a structured target. A target that cannot
    be read is absent, and its turn listed in ``unused``; the sample stays, for its text is of use.

    A caption has five rows a pair in the training part, and one row with five references in the test part. There is no
    val file, though DeltaVLM's trainer asks for one: take the split from LEVIR-CC's pairs. The answers' exact wording
    is known from its evaluation and examples, see `rsmoe.data.change.answers`.

    Args:
        files: split -> files, relative to ``root``, each with the kind of its rows, or "mixed".
        images: folder of the images, relative to ``root`` or, where it is not there, to the folder of LEVIR-CC.
        images_root: folder of LEVIR-CC; None means the folder ``images_name`` beside this one, or
            ``$RSMOE_DATA/<images_name>``.
        images_name: short name of LEVIR-CC.
        missing_images: "error", or "skip": a partial copy of the images is read as far as it goes, the rest is
            ``unused``.

    Attributes:
        unused: turns that are empty or whose target cannot be read, rows without images.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "changechat",
        files: Mapping[str, Mapping[str, str]],
        images: str = "images",
        images_root: str | None = None,
        images_name: str = "levir_cc",
        kinds: Sequence[str] | None = None,
        missing_images: str = "error",
        meta: Mapping[str, object] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_known(f"missing_images of {name}", missing_images, known=MISSING)
        require_known(f"kind of {name}", *(kinds or ()), known=KINDS)
        folder = data_root(root, name)
        require_split(name, split, sorted(files))
        super().__init__(name=name, split=split, official=official)
        self._meta = dict(meta or {})
        rows = []
        for file, kind in files[split].items():
            require_known(f"kind of {file}", kind, known=(*KINDS, "mixed"))
            if kinds is None or kind == "mixed" or kind in kinds:
                rows += self._read(folder / file, kind)
        rows = [row for row in rows if row.turns and (kinds is None or row.kind in kinds)]
        if not rows:
            raise UserError(f"{name}: no row of kind {', '.join(kinds or KINDS)} in split {split!r}")
        pictures = folder / images
        if not pictures.is_dir():
            pictures = other_root(images_root, images_name, folder=folder, root=root) / images
        names, absent = dict.fromkeys(image for row in rows for image in row.images), list[str]()
        skipped = absent if missing_images == "skip" else None
        try:
            self._paths = find_images(pictures, names, source=name, flat=False, absent=skipped)
        except UserError as error:
            raise UserError(f"{error}. Of a partial copy read what is there: data.missing_images=skip") from error
        if absent:
            self.unused["no image files"] = [row.id for row in rows if not self._paths.keys() >= set(row.images)]
            rows = [row for row in rows if self._paths.keys() >= set(row.images)]
            if not rows:
                raise UserError(f"{name}: none of the {len(names)} images of split {split!r} is in {pictures}")
        self._rows = rows
        self._index = [(i, turn) for i, row in enumerate(rows) for turn in range(len(row.turns))]
        for i, turn in self._index:
            row = rows[i]
            if self._target(row, turn) is None:
                reason = f"target not read: {self._asks(row, turn)} (the text is used)"
                self.leave_out(reason, f"{row.id}:{turn}")
        self.counts = {
            "pairs": len({row.images for row in rows}),
            **Counter(row.kind for row in rows),
            "turns": len(self._index),
        }

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Sample:
        number, turn = self._index[index]
        row = self._rows[number]
        question, answers = row.turns[turn]
        history = tuple((asked, said[0]) for asked, said in row.turns[:turn])
        kind = row.kind
        if kind == "caption":
            kind = "changed" if row.changed else "unchanged"
        return self._make(
            row.id if len(row.turns) == 1 else f"{row.id}:{turn}",
            (self._paths[row.images[0]], self._paths[row.images[1]]),
            question,
            answers,
            "change_caption" if row.kind == "caption" else "change_vqa",
            kind=kind,
            history=history,
            meta={**self._meta, "asks": self._asks(row, turn), **(self._target(row, turn) or {})},
        )

    def _asks(self, row: _Row, turn: int) -> str:
        return row.kind if row.kind != "dialogue" else question_kind(row.turns[turn][0])

    def _target(self, row: _Row, turn: int) -> dict[str, Any] | None:
        return read_target(self._asks(row, turn), row.turns[turn][1][0])

    def _read(self, path: Path, kind: str) -> list[_Row]:
        rows = []
        for i, (where, row) in enumerate(read_rows(path)):
            flag = row.get("changeflag")
            if flag is not None and type(flag) is not int:
                raise UserError(f"{where}: 'changeflag' should be a whole number, found {flag!r}")
            identity = f"{path.stem}:{i}"
            turns: tuple[tuple[str, tuple[str, ...]], ...]
            if "captions" in row:
                images = [field(row, key, str, where) for key in ("image_A", "image_B")]
                written = field(row, "captions", list, where)
                captions = tuple(stripped(text) for text in written if isinstance(text, str) and stripped(text))
                if not captions or len(captions) < len(written):
                    raise UserError(f"{where}: 'captions' should hold sentences, found {str(written)[:80]}")
                turns, found = ((CAPTION, captions),), "caption"
            else:
                images = field(row, "image", list, where)
                dialogue = read_dialogue(row, DialogueForm(), where)
                for reason in dialogue.unused:
                    self.leave_out(reason, identity)
                turns = tuple((question, (answer,)) for question, answer in dialogue.turns)
                found = "dialogue" if len(turns) > 1 else question_kind(turns[0][0]) if turns else "open"
            if len(images) != 2 or not all(isinstance(image, str) for image in images):
                raise UserError(f"{where}: expected two images, before and after, found {str(images)[:80]}")
            unchanged = bool(turns) and all(text.lower().strip(" .!") in NO_CHANGE for text in turns[0][1])
            changed = bool(flag) if flag is not None else not unchanged
            rows.append(_Row(identity, found if kind == "mixed" else kind, (images[0], images[1]), turns, changed))
        return rows
