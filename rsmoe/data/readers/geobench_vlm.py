"""GEOBench-VLM: multiple-choice questions of many geospatial tasks, on one image or on several dates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rsmoe.checks.ranges import NonNegative
from rsmoe.data.files.values import present, text_of
from rsmoe.data.rasters.images import find_images
from rsmoe.data.readers.annotations import data_root, field, read_json, require_split
from rsmoe.data.readers.choices import LETTERS, fill
from rsmoe.data.readers.reader import Reader
from rsmoe.errors import UserError, require_known

PARTS = ("Single", "Temporal")
"""Folders of the release: tasks on one picture, and on several dates."""


class GEOBenchVLM(Reader):
    """One sample a paraphrase of a question, from ``Single/qa.json`` and ``Temporal/qa.json``.

    ``[{"image_path", "prompts", "options", "options_list", "ground_truth", "ground_truth_option", "task",
    "question_id", "cls_description"}]``; ``image_path`` is relative to the release, in "Temporal" a list in temporal
    order. Every item has several paraphrases, and the release's scripts ask all of them, so accuracy over samples is
    theirs; the items are told apart by ``Sample.meta["item"]``.

    ``Sample.kind`` is the release's task ("Crop Type Classification" ...), ``Sample.meta`` has "options" {letter: text}
    and "answer", the right letter; the response is the letter. Questions on two or more images are "change_vqa". The
    release's temporal script for Qwen2-VL shows only the first and the last image; here all are kept.

    The captioning, referring and segmentation parts have other files and are not read here.

    Args:
        split: "test".
        parts: "Single", "Temporal" or both.
        request: the instruction, with {question}, {options} and {description}.
        paraphrases: how many prompts of an item are asked; None asks all.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str = "test",
        name: str = "geobench_vlm",
        parts: Sequence[str] = PARTS,
        request: str = "{description}\n{question}\nOptions: {options}\nAnswer with the letter of one option.",
        paraphrases: NonNegative | None = None,
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        folder = data_root(root, name)
        require_split(name, split, ["test"])
        super().__init__(name=name, split=split, official=official)
        rows: list[tuple[str, dict[str, Any], list[str]]] = []
        require_known(f"part of {name}", *parts, known=PARTS)
        for part in parts:
            file = f"{part}/qa.json"
            content = read_json(folder / file)
            if not isinstance(content, list):
                raise UserError(f"{file}: expected a list of questions, found {type(content).__name__}")
            for i, row in enumerate(content):
                where = f"{file}, [{i}]"
                shown = row.get("image_path") if isinstance(row, dict) else None
                images = shown if isinstance(shown, list) else [field(row, "image_path", str, where)]
                if not images or not all(isinstance(image, str) for image in images):
                    raise UserError(
                        f"{where}: 'image_path' should be a path or a list of paths, found {str(shown)[:60]}"
                    )
                rows.append((where, row, images))
        if not rows:
            raise UserError(f"{folder} holds no question in {', '.join(parts) or 'no part'}. Download it again")
        paths = find_images(folder, [image for _, _, images in rows for image in images], source=name, flat=False)
        for where, row, images in rows:
            prompts = [text_of(prompt, f"{where}: a prompt") for prompt in field(row, "prompts", list, where)]
            texts = [
                text_of(one, f"{where}: an option", number=True) for one in field(row, "options_list", list, where)
            ]
            options = dict(zip(LETTERS, texts, strict=False))
            letter = field(row, "ground_truth_option", str, where).strip().rstrip(".").upper()
            if letter not in options or not all(prompts) or not prompts:
                raise UserError(
                    f"{where}: needs prompts and a 'ground_truth_option' among {', '.join(options) or '(no option)'}; "
                    f"found {row['ground_truth_option']!r} and {len(prompts)} prompts"
                )
            said = {
                key: text_of(present(row).get(key, ""), f"{where}: {key!r}", number=True)
                for key in ("cls_description", "ground_truth")
            }
            slots = {"options": field(row, "options", str, where), "description": said["cls_description"]}
            facts = {
                "item": where,
                "options": options,
                "answer": letter,
                "answer_text": said["ground_truth"],
            }
            if "question_id" in row:
                facts["question_id"] = row["question_id"]
            for j, prompt in enumerate(prompts[:paraphrases]):
                self._add(
                    f"{where}:{j}",
                    tuple(paths[image] for image in images),
                    fill(request, question=prompt, **slots).strip(),
                    (letter,),
                    "vqa" if len(images) == 1 else "change_vqa",
                    kind=field(row, "task", str, where),
                    meta={"question": prompt, **facts},
                )
        kinds = Counter(sample.kind for sample in self._samples)
        self.counts = {"images": len(paths), "items": len(rows), "questions": len(self._samples), **kinds}
