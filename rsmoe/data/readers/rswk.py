"""RSWK of RS-RAG: landmarks seen from above, with what an encyclopaedia and satellites know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.data.files.file_names import stem
from rsmoe.data.files.json_text import read_rows
from rsmoe.data.files.text_files import stripped
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, require_split
from rsmoe.data.readers.conversations import DialogueForm, read_dialogue
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError, require_known

KINDS = ("caption", "classification", "vqa_wk", "vqa_rsk", "vqa_c", "vqa")
"""Long captions; the category; questions on world knowledge, on monthly satellite variables, on what follows from them;
the three kinds mixed, which is what the mini test holds."""

_FORM = DialogueForm(messages="messages", speaker="role", text="content", asks="user", answers="assistant")


class RSWK(Reader):
    """One sample an answer of ``{"messages": [{"role", "content"}, ...], "images": ["000474.png"]}`` lines.

    The free questions (``vqa_c``) are a json list instead, ``[{"ID", "Name", "qa_pairs": [{"question", "answer"}]}]``;
    an earlier revision of the release says ``{"image_name", "gpt_output"}`` there and names its images by landmark.
    Both are read, by the keys that are there. ``Sample.kind`` is a name of `KINDS`; captions have the task "caption",
    everything else "vqa".

    ``Sample.meta["knowledge"]`` is the record of the landmark, from ``[{"ID", "image_name", "world knowledge",
    "remote sensing expert knowledge", ...}]``, without ID and image_name, keys as written. It is the answer to many of
    the questions: never feed it to a model unasked.

    Known noise, kept: the prompt of the mini classification says 16 categories and lists 14; the full classification
    test has 47 labels.

    Args:
        files: split -> kind -> file, relative to ``root``.
        knowledge: split -> file of the records; a split without one has no knowledge.
        kinds: kinds to read; None reads all that the split has.

    Attributes:
        unused: places of empty or unanswered turns.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "rswk",
        files: Mapping[str, Mapping[str, str]],
        images: str = "images",
        knowledge: Mapping[str, str] | None = None,
        kinds: Sequence[str] | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        require_split(name, split, sorted(files))
        require_known(f"kind of {name}", *files[split], *(kinds or ()), known=KINDS)
        super().__init__(name=name, split=split, official=official)
        rows = [
            (f"{Path(file).stem}:{number}", kind, image, question, answer)
            for kind, file in files[split].items()
            if kinds is None or kind in kinds
            for number, (image, question, answer) in enumerate(self._read(folder / file))
        ]
        if not rows:
            raise UserError(f"{name}: split {split!r} holds no answer of {', '.join(kinds or files[split])}")
        paths = find_images(folder / images, [image for _, _, image, _, _ in rows], source=name, flat=False)
        records = _records(folder / knowledge[split]) if knowledge and split in knowledge else {}
        self.counts = {"images": len(paths), **Counter(kind for _, kind, *_ in rows)}
        if records:
            self.counts["with_knowledge"] = sum(_landmark(image) in records for image in paths)
        self._samples = [
            self._make(
                key,
                (paths[image],),
                question,
                (answer,),
                "caption" if kind == "caption" else "vqa",
                kind=kind,
                meta={"knowledge": records[_landmark(image)]} if _landmark(image) in records else {},
            )
            for key, kind, image, question, answer in rows
        ]

    def _read(self, path: Path) -> list[tuple[str, str, str]]:
        """(image, question, answer) of one file."""
        triples: list[tuple[str, str, str]] = []
        for where, row in read_rows(path):
            if "messages" in row:
                images = field(row, "images", list, where)
                if len(images) != 1 or not isinstance(images[0], str):
                    raise UserError(f"{where}: expected one image, found {str(images)[:60]}")
                dialogue = read_dialogue(row, _FORM, where)
                for reason in dialogue.unused:
                    self.leave_out(reason, where)
                if len(dialogue.turns) > 1:
                    raise UserError(
                        f"{where}: expected one question and one answer, found {len(dialogue.turns)} of each"
                    )
                triples += [(images[0], question, answer) for question, answer in dialogue.turns]
                continue
            old = "gpt_output" in row
            landmark = field(row, "image_name" if old else "ID", str, where)
            for pair in field(row, "gpt_output" if old else "qa_pairs", list, where):
                question, answer = (stripped(field(pair, key, str, where)) for key in ("question", "answer"))
                if question and answer:
                    triples.append((f"{landmark}.png", question, answer))
                else:
                    self.leave_out("turns with an empty question or answer", where)
        return triples


def _landmark(image: str) -> str:
    """What a landmark is called in an image's name: its ID or, in the earlier revision, its own name."""
    return stem(image)


def _records(path: Path) -> dict[str, dict[str, Any]]:
    """Knowledge by ID and by name of the landmark."""
    records: dict[str, dict[str, Any]] = {}
    for where, row in read_rows(path):
        facts = {key: value for key, value in row.items() if key not in ("ID", "image_name")}
        records[field(row, "image_name", str, where)] = facts
        if "ID" in row:
            records[field(row, "ID", str, where)] = facts
    return records
