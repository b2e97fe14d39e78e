"""LHRS-Bench: single-choice questions on Google Earth images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rsmoe.data.files.text_files import stripped
from rsmoe.data.files.values import id_of
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, identity, read_json, require_split
from rsmoe.data.readers.choices import fill, lettered
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError


class LHRSBench(Reader):
    """One sample a question of ``{"data": [{"filename", "qa_pairs": [...]}], "qtype": {"1 identity": ...}}``.

    A pair is ``{"question", "choices", "answer", "type"}``: ``choices`` is one text, "A. ... B. ...", ``answer`` a
    letter, "A.", ``type`` a list of the numbers that begin the keys of ``qtype``. ``Sample.kind`` is the first type,
    ``Sample.meta["kinds"]`` all of them (the release's script counts an item in each). ``Sample.meta`` has "options"
    {letter: text} and "answer", the right letter; the response is the letter as the release writes it.

    Trap: the release's scorer strips articles and so makes the gold answer "A." an empty text.

    Args:
        split: "test".
        request: the instruction, with {question} and {choices}; the default is the one of ``main_bench_gen.py``.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str = "test",
        name: str = "lhrs_bench",
        annotations: str = "qa.json",
        images: str = "images",
        request: str = "{question}\nChoices: {choices} Answer from the given choices with A., B., C., D., etc.",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        require_split(name, split, ["test"])
        super().__init__(name=name, split=split, official=official)
        content = read_json(folder / annotations)
        names = dict(key.split(" ", 1) for key in field(content, "qtype", dict, annotations) if " " in key)
        rows = field(content, "data", list, annotations)
        files = [identity(row, "filename", f"{annotations}, data[{i}]") for i, row in enumerate(rows)]
        paths = find_images(folder / images, files, source=name)
        for i, (row, file) in enumerate(zip(rows, files, strict=True)):
            for j, pair in enumerate(field(row, "qa_pairs", list, f"{annotations}, data[{i}]")):
                where = f"{annotations}, data[{i}].qa_pairs[{j}]"
                question, choices, answer = (
                    stripped(field(pair, k, str, where)) for k in ("question", "choices", "answer")
                )
                options, letter = lettered(choices, where), answer.rstrip(".").strip().upper()
                if letter not in options:
                    raise UserError(f"{where}: the answer {answer!r} is none of the choices {', '.join(options)}")
                types = [id_of(number, f"{where}: 'type'") for number in field(pair, "type", list, where)]
                if not types or not set(types) <= set(names):
                    raise UserError(
                        f"{where}: the types {types} are not all among those of 'qtype': {', '.join(names)}"
                    )
                kinds = tuple(names[number] for number in types)
                self._add(
                    f"{i}:{file}:{j}",
                    (paths[file],),
                    fill(request, question=question, choices=choices),
                    (answer,),
                    "vqa",
                    kind=kinds[0],
                    meta={"kinds": kinds, "question": question, "options": options, "answer": letter},
                )
        if not self._samples:
            raise UserError(f"{folder / annotations} holds no question. Download it again")
        tally = Counter(kind for sample in self._samples for kind in sample.meta["kinds"])
        self.counts = {"images": len(paths), "questions": len(self._samples), **tally}
