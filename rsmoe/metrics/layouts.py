"""References and predictions out of files, in the layouts that the field uses.

====================  ==============================================================================================
references            one of
====================  ==============================================================================================
rows                  .jsonl, or a .json list: {"id", "references" | "captions" | "reference" | "answer", "kind", ...};
                      further keys become ``Sample.meta`` ("options", "size_px", "box_convention", "changeflag"),
                      "boxes_px", "obb_px" boxes, "mask" and "masks" COCO run-length codes
Karpathy, LEVIR-CC    {"images": [{"filename", "split", "imgid", "sentences": [{"raw"}], "changeflag"}]}
COCO                  {"images": [...], "annotations": [{"image_id", "caption"}]}, or "question_id" and "answer"
mapping               {id: text or [text, ...]}
lines                 .txt, one reference a line; ids are line numbers from 0
====================  ==============================================================================================

Predictions are rows ("id" | "image_id" | "question_id" and "text" | "caption" | "answer" | "prediction"), which are
COCO results and our own ``predictions.jsonl``; a mapping; or lines in the order of the references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.annotations import read_json, require_file
from rsmoe.data.jsonl import read_rows
from rsmoe.data.mask_sources import RLEMask
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.change_captions import NO_CHANGE
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.tokenize import whitespace, word_vocabulary

IDS = ("id", "image_id", "question_id", "filename", "image_A")
REFERENCES = ("references", "responses", "captions", "caption", "reference", "answer")
TEXTS = ("text", "caption", "answer", "prediction")
_ROW = {*IDS, *REFERENCES, "kind", "task", "boxes_px", "obb_px", "mask", "split"}


@dataclass(frozen=True, kw_only=True)
class References:
    """Samples of one task to score against, and what a file of predictions may call them."""

    samples: tuple[Sample, ...]
    """Pictures are named by their id and never opened."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Key -> the name of every sample under it; ``Sample.id`` is always one."""
    training_captions: tuple[str, ...] = ()
    """Captions of the training split, where the file holds it too."""

    def word_vocabulary(self) -> dict[str, int] | None:
        """Word -> id from the training captions, see `rsmoe.metrics.tokenize.word_vocabulary`; None where none is."""
        return word_vocabulary(self.training_captions) or None

    def resolve(self, ids: Sequence[str]) -> list[str]:
        """``Sample.id`` for ids that a file of predictions uses, by the first key under which all of them are known.

        Where there is none, those that the best key does not know stay as they are, for an error that names them.
        """
        own = tuple(sample.id for sample in self.samples)
        tables = [dict(zip(called, own, strict=True)) for called in (own, *self.names.values())]
        tables = [table for table in tables if len(table) == len(own)]
        best = max(tables, key=lambda table: len(table.keys() & set(ids)), default={})
        return [best.get(name, name) for name in ids]


def read_references(path: Path, *, task: str, split: str) -> References:
    """Samples of ``task`` from a file in one of the layouts above; of one split, where the file tells splits apart.

    Raises:
        UserError: for a missing file, another layout, a split that the file does not have, or no reference.
    """
    if path.suffix == ".txt":
        rows = [{"id": str(i), "references": [line]} for i, line in enumerate(_lines(path))]
        return _references(path, rows, task)
    if path.suffix == ".jsonl":
        return _references(path, [row for _, row in read_rows(path)], task)
    content = read_json(path)
    if isinstance(content, list):
        return _references(path, [row for _, row in read_rows(path)], task)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return _references(path, _coco(content, path), task)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        return _karpathy(path, content["images"], task, split)
    if isinstance(content, dict) and content and all(isinstance(v, str | list) for v in content.values()):
        return _references(path, [{"id": key, "references": value} for key, value in content.items()], task)
    raise UserError(
        f"{path.name} is in none of the layouts of references: rows with 'id' and 'references', Karpathy "
        "('images' with 'sentences'), COCO ('annotations'), {id: [texts]}, or a .txt of lines"
    )


def read_predictions(path: Path, references: References, *, task: str) -> list[Prediction]:
    """One prediction a row, with the ids of the samples that they name.

    Raises:
        UserError: for a missing file, another layout, or another number of lines than there are references.
    """
    if path.suffix == ".txt":
        lines = _lines(path)
        if len(lines) != len(references.samples):
            raise UserError(
                f"{path.name} has {len(lines)} lines for {len(references.samples)} references: give one prediction a "
                "line, in the order of the references, an empty line where the model failed"
            )
        return [Prediction(id=s.id, task=task, text=line) for s, line in zip(references.samples, lines, strict=True)]
    content = read_json(path) if path.suffix != ".jsonl" else None
    if isinstance(content, dict):
        rows = [(f"{path.name}, {key!r}", {"id": key, "text": _single(value, key)}) for key, value in content.items()]
    else:
        rows = read_rows(path)
    ids = references.resolve([_id(row, where) for where, row in rows])
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


def _references(path: Path, rows: Sequence[dict[str, Any]], task: str) -> References:
    samples = tuple(_sample(row, f"{path.name}, row {i}", task) for i, row in enumerate(rows))
    if not samples:
        raise UserError(f"{path.name} holds no reference")
    keys = [key for key in (*IDS, "file_name", "imgid") if all(key in row for row in rows)]
    return References(samples=samples, names={key: tuple(str(row[key]) for row in rows) for key in keys})


def _sample(row: dict[str, Any], where: str, task: str) -> Sample:
    found = next((row[key] for key in REFERENCES if row.get(key) is not None), None)
    texts = tuple(str(text) for text in (found if isinstance(found, list) else [found]) if text is not None)
    name = _id(row, where)
    if not texts and task in ("mask", "ground"):
        texts = ("",)  # the truth is a mask or boxes
    if not texts:
        raise UserError(f"{where} ({name}): no reference; expected one of the keys {', '.join(REFERENCES)}")
    meta = {key: value for key, value in row.items() if key not in _ROW}
    if "masks" in meta:
        meta["masks"] = [_mask(mask, where) for mask in meta["masks"]]
    boxes: dict[str, Any] = {
        key: np.asarray(row[key], dtype=np.float32) for key in ("boxes_px", "obb_px") if row.get(key)
    }
    if task == "vqa" and meta.get("options") and row.get("answer") is not None:
        meta["answer"] = row["answer"]
    return Sample(
        id=name,
        images=(Path(name),),
        instruction="",
        responses=texts,
        task=task,
        source="file",
        kind=str(row.get("kind") or "")
        or (_change_kind(row.get("changeflag"), texts) if task == "change_caption" else ""),
        mask=_mask(row["mask"], where) if row.get("mask") is not None else None,
        meta=meta,
        **boxes,
    )


def _change_kind(flag: Any, texts: Sequence[str]) -> str:
    """The oldest LEVIR-CC json has no flag: a pair is unchanged there when every reference is a no-change sentence."""
    if flag is not None:
        return "changed" if int(flag) else "unchanged"
    said = {tuple(whitespace(text)) for text in NO_CHANGE}
    return "unchanged" if all(tuple(whitespace(text)) in said for text in texts) else "changed"


def _karpathy(path: Path, images: Sequence[Any], task: str, split: str) -> References:
    rows: list[dict[str, Any]] = []
    training: list[str] = []
    for i, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("sentences"), list) or "filename" not in image:
            raise UserError(f"{path.name}, images[{i}]: expected an object with 'filename' and 'sentences'")
        texts = [str(s["raw"] if "raw" in s else " ".join(s.get("tokens", ()))).strip() for s in image["sentences"]]
        texts = [text for text in texts if text]
        if image.get("split") == "train":
            training += texts
        rows.append({k: v for k, v in image.items() if k not in ("sentences", "sentids")} | {"references": texts})
    known = sorted({str(row["split"]) for row in rows if "split" in row})
    if known and split not in known:
        raise UserError(f"{path.name} has no split {split!r}; type one of: {', '.join(f'split={k}' for k in known)}")
    found = _references(path, [row for row in rows if row.get("split", split) == split], task)
    stems = {"stem": tuple(Path(sample.id).stem for sample in found.samples)}
    return References(samples=found.samples, names={**found.names, **stems}, training_captions=tuple(training))


def _coco(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Annotations of one image, or of one question, joined in the order in which they first occur."""
    files = {str(i.get("id")): i.get("file_name") for i in content.get("images", ()) if isinstance(i, dict)}
    rows: dict[str, dict[str, Any]] = {}
    for i, annotation in enumerate(content["annotations"]):
        if not isinstance(annotation, dict):
            raise UserError(f"{path.name}, annotations[{i}]: expected an object, found {type(annotation).__name__}")
        key = "question_id" if "question_id" in annotation else "image_id"
        name = _id({key: annotation.get(key)}, f"{path.name}, annotations[{i}]")
        row = rows.setdefault(name, {"id": name, "references": [], "kind": annotation.get("question_type", "")})
        if files.get(name):
            row["file_name"] = files[name]
        answers = annotation.get("answers") or [annotation.get("caption", annotation.get("answer"))]
        row["references"] += [a["answer"] if isinstance(a, dict) else a for a in answers if a is not None]
    return list(rows.values())


def _prediction(row: dict[str, Any], name: str, task: str, where: str) -> Prediction:
    key = next((key for key in TEXTS if key in row), None)
    arrays: dict[str, Any] = {
        k: np.asarray(row[k], dtype=np.float64) for k in ("image_embedding", "text_embeddings") if row.get(k)
    }
    other = {"mask", "masks", "ranking", *arrays} & set(row)
    if key is None and not other:
        raise UserError(f"{where}: no prediction; expected one of the keys {', '.join(TEXTS)}, found {', '.join(row)}")
    mask = row.get("mask")
    return Prediction(
        id=name,
        task=task,
        text="" if key is None or row[key] is None else str(row[key]),
        mask=None if mask is None else _mask(mask, where).read(),
        masks=tuple(_mask(m, where).read() for m in row.get("masks") or ()),
        ranking=tuple(str(item) for item in row.get("ranking") or ()),
        **arrays,
    )


def _mask(code: Any, where: str) -> RLEMask:
    if not isinstance(code, dict) or not {"size", "counts"} <= set(code):
        raise UserError(f"{where}: a mask should be a COCO run-length code, {{'size': [h, w], 'counts': ...}}")
    return RLEMask(counts=code["counts"], size=code["size"])


def _id(row: dict[str, Any], where: str) -> str:
    name = next((row[key] for key in IDS if row.get(key) is not None), None)
    if name is None:
        raise UserError(f"{where}: no id; expected one of the keys {', '.join(IDS)}, found {', '.join(row) or 'none'}")
    return str(name)


def _single(value: Any, key: str) -> Any:
    if isinstance(value, list):
        if len(value) != 1:
            raise UserError(f"{key!r} has {len(value)} predictions: give one")
        return value[0]
    return value


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in require_file(path).read_text(encoding="utf-8").splitlines()]
