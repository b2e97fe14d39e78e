"""FloodNet-VQA: questions on drone pictures of flooded towns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rsmoe.checks.ranges import Fraction
from rsmoe.data.files.text_files import stripped
from rsmoe.data.files.values import present, text_of
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, identity, read_json, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.readers.splits import held_out, require_fractions
from rsmoe.errors import UserError


class FloodNetVQA(Reader):
    """One sample a question: ``{"<key>": {"Image_ID", "Question", "Question_Type", "Ground_Truth"}, ...}``.

    ``Sample.kind`` is the type: "Condition_Recognition", "Yes_No", "Simple_Counting", "Complex_Counting".
    ``Ground_Truth`` is text or, of counts, a number.

    The challenge publishes answers of the training questions alone; its validation and test questions have none and
    cannot be read. So "val" is held out here: ``val_fraction`` of the training pictures with all of their questions,
    see `held_out`.

    Args:
        split: "train" or "val".
        questions: the json, relative to ``root``.
        val_fraction: share of the pictures that "val" gets; 0 trains on all.

    Attributes:
        unused: keys of questions without an answer.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "floodnet_vqa",
        questions: str = "Questions/Training Question.json",
        images: str = "Images/Train_Image",
        val_fraction: Fraction = 0.1,
        kinds: Sequence[str] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        require_fractions(name, val_fraction=val_fraction)
        folder = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        content = read_json(folder / questions)
        if not isinstance(content, dict):
            raise UserError(f"{questions}: expected an object of questions by key, found {type(content).__name__}")
        rows: list[tuple[str, str, str, str, str]] = []
        for key, row in content.items():
            where = f"{questions}, question {key!r}"
            file = identity(row, "Image_ID", where)
            text, kind = (stripped(field(row, k, str, where)) for k in ("Question", "Question_Type"))
            answer = text_of(present(row).get("Ground_Truth", ""), f"{where}: 'Ground_Truth'", number=True)
            if answer:
                rows.append((key, file, text, kind, answer))
            else:
                self.leave_out("questions without a published answer", key)
        if not rows:
            raise UserError(f"{name}: no question of {questions} has an answer; only the training questions have them")
        files = {file for _, file, *_ in rows}
        val = held_out(files, val_fraction)
        require_split(name, split, ["train"] * (val < files) + ["val"] * bool(val))
        rows = [row for row in rows if (row[1] in val) == (split == "val") and (kinds is None or row[3] in kinds)]
        if not rows:
            raise UserError(f"{name}: no question of type {list(kinds or ())} in split {split!r}")
        paths = find_images(folder / images, [file for _, file, *_ in rows], source=name)
        self.counts = {"images": len(paths), "questions": len(rows), **Counter(row[3] for row in rows)}
        self._samples = [
            self._make(key, (paths[file],), text, (answer,), "vqa", kind=kind) for key, file, text, kind, answer in rows
        ]
