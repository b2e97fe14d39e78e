"""References and predictions out of files, in the layouts that the field uses.

====================  ==============================================================================================
references            one of
====================  ==============================================================================================
rows                  .jsonl, a .json list, .csv or .tsv: an id (`rsmoe.evaluation.formats.row_ids.IDS`), a truth
                      (`rsmoe.evaluation.formats.answer_rows.TRUTHS`: "references", "captions", "ground_truth", "answer"
                      ...), "kind"; further keys become ``Sample.meta`` ("options", "size_px", "box_convention",
                      "changeflag"), "boxes_px", "obb_px" boxes, "mask" and "masks" COCO run-length codes
Karpathy, LEVIR-CC    {"images": [{"filename", "split", "imgid", "sentences": [{"raw"}], "changeflag"}]}
COCO                  {"images": [...], "annotations": [{"image_id", "caption"}]}, or "question_id" and "answer"
mapping               {id: text or [text, ...]}
lines                 .txt, one reference a line; ids are line numbers from 0
class maps            a folder, see `rsmoe.evaluation.formats.class_maps`
====================  ==============================================================================================

Predictions are rows as our own ``predictions.jsonl`` and the programs of `rsmoe.evaluation.formats.answer_rows` write
them, a mapping, or lines in the order of the references. Rows without any id are in that order too; where they bring
their own truth ("labels", "target"), it has to be that of the reference. Which key is the id:
`rsmoe.evaluation.formats.row_ids.match_ids`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.data.files.values import id_of, is_missing, shown
from rsmoe.data.readers.annotations import read_json, read_lines
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.formats.answer_rows import Rows, answer_of, file_rows, has_answer, truths_of
from rsmoe.evaluation.formats.class_maps import read_map_predictions, read_map_references
from rsmoe.evaluation.formats.references import References as References
from rsmoe.evaluation.formats.references import coco, karpathy, of_split, references_of
from rsmoe.evaluation.formats.row_arrays import boxes_of, list_of, numbers_of, outputs_of, read_mask
from rsmoe.evaluation.formats.row_ids import IDS, id_columns, match_ids
from rsmoe.metrics.prediction import Prediction


def read_references(path: Path, *, task: str, split: str) -> References:
    """Samples of ``task`` from a file in one of the layouts above; of one split, where the file tells splits apart.

    Raises:
        UserError: for a missing file, another layout, a split that the file does not have, no reference, or rows that
            no key tells apart.
    """
    if path.is_dir():
        return read_map_references(path, task=task)
    if path.suffix.lower() == ".txt":
        lines = read_lines(path)
        while lines and not lines[-1]:
            lines.pop()
        rows: Rows = [(f"{path.name}, line {i}", {"references": line}) for i, line in enumerate(lines, start=1)]
        return references_of(path, rows, task)
    content = file_rows(path)
    if isinstance(content, Mapping):
        if isinstance(content.get("annotations"), list):
            return references_of(path, coco(content, path), task)
        if isinstance(content.get("images"), list):
            return karpathy(path, content["images"], task, split)
        if not content or not all(isinstance(value, str | list) for value in content.values()):
            raise UserError(
                f"{path.name} is in none of the layouts of references: rows with 'id' and 'references', Karpathy "
                "('images' with 'sentences'), COCO ('annotations'), {id: [texts]}, or a .txt of lines"
            )
        content = [(f"{path.name}, {key!r}", {"id": key, "references": value}) for key, value in content.items()]
    elif content and all(where.startswith(f"{path.name}, annotations[") for where, _ in content):
        content = coco({"annotations": [row for _, row in content]}, path)
    return references_of(path, of_split(content, split, path), task)


def read_predictions(path: Path, references: References, *, task: str) -> list[Prediction]:
    """One prediction a row, with the ids of the samples that they name.

    Raises:
        UserError: for a missing file, another layout, several keys that could be the id, or another number of lines
            than there are references.
    """
    samples = references.samples
    if path.is_dir():
        return read_map_predictions(path, task=task)
    if path.suffix.lower() == ".txt":
        lines = read_lines(path)
        while len(lines) > len(samples) and not lines[-1]:
            lines.pop()
        if len(lines) != len(samples):
            raise UserError(
                f"{path.name} has {len(lines)} lines for {len(samples)} references: give one prediction a "
                "line, in the order of the references, an empty line where the model failed"
            )
        return [Prediction(id=s.id, task=task, text=line) for s, line in zip(samples, lines, strict=True)]
    rows = file_rows(path)
    if isinstance(rows, Mapping):
        rows = [(f"{path.name}, {key!r}", {"id": key, "text": value}) for key, value in rows.items()]
    if not rows:
        raise UserError(f"{path.name} holds no prediction; expected one for each of {len(samples)} references")
    if columns := id_columns(rows):
        ids = match_ids(columns, references.names, [sample.id for sample in samples], path.name)
    else:
        ids = _by_order(rows, samples)
    return [_prediction(row, name, task, where) for name, (where, row) in zip(ids, rows, strict=True)]


def read_vocabulary(path: Path) -> dict[str, int]:
    """Word -> id, of a release whose captions are scored as ids.

    Raises:
        UserError: for a missing file, or another content than {word: id}.
    """
    words = read_json(path)
    if not isinstance(words, dict) or not words or not all(type(number) is int for number in words.values()):
        raise UserError(f"{path} should hold a vocabulary, {{word: id}} with whole numbers as ids")
    return words


def _by_order(rows: Rows, samples: Sequence[Sample]) -> list[str]:
    """Ids of rows that have none."""
    if len(rows) != len(samples):
        raise UserError(
            f"{rows[0][0]}: no id; expected one of the keys {', '.join(IDS)}, found {', '.join(rows[0][1]) or 'none'}. "
            f"Without ids, rows are taken in the order of the references: there are {len(rows)} for {len(samples)}"
        )
    for (where, row), sample in zip(rows, samples, strict=True):
        truth = {key: row[key] for key in ("labels", "target", "ground_truth") if isinstance(row.get(key), str)}
        if truth and not set(truths_of(truth, where)) & set(sample.responses):
            raise UserError(
                f"{where}: rows without an id are taken in the order of the references, but this one is about "
                f"{shown(next(iter(truth.values())))} and reference {sample.id!r} says {shown(sample.responses[0])}. "
                "Give both an id"
            )
    return [sample.id for sample in samples]


def _prediction(row: dict[str, Any], name: str, task: str, where: str) -> Prediction:
    embeddings: dict[str, Any] = {
        key: numbers_of(row[key], f"{where}: {key!r}", shape)
        for key, shape in (("image_embedding", (1,)), ("text_embeddings", (2,)))
        if not is_missing(row.get(key))
    }
    others = bool({"mask", "masks", "boxes_px", "ranking", "outputs", *embeddings} & set(row))
    masks, ranking = (
        [] if is_missing(row.get(key)) else list_of(row[key], f"{where}: {key!r}") for key in ("masks", "ranking")
    )
    return Prediction(
        id=name,
        task=task,
        text="" if others and not has_answer(row) else answer_of(row, where),
        mask=None if is_missing(row.get("mask")) else read_mask(row["mask"], where),
        masks=tuple(read_mask(mask, where) for mask in masks),
        boxes_px=boxes_of(row["boxes_px"], f"{where}: 'boxes_px'", 4) if row.get("boxes_px") else None,
        ranking=tuple(id_of(item, f"{where}: 'ranking'") for item in ranking),
        outputs=outputs_of(row, where),
        **embeddings,
    )
