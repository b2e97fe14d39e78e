"""References out of rows, of Karpathy's json and of COCO's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsmoe.data.change.phrases import SAYS_NO_CHANGE
from rsmoe.data.files.values import id_of, is_missing, shown, text_of
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.formats.answer_rows import KINDS, TRUTHS, Rows, kind_of, options_of, truths_of
from rsmoe.evaluation.formats.row_arrays import boxes_of, change_of, list_of, mask_of, numbers_of
from rsmoe.evaluation.formats.row_ids import IDS, id_columns, unique_columns
from rsmoe.metrics.captions.tokenize import whitespace, word_vocabulary

_ROW = {*IDS, *TRUTHS, *KINDS, "task", "boxes_px", "obb_px", "mask", "masks", "split", "options"}


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
        """Word -> id from the training captions, see `rsmoe.metrics.captions.tokenize.word_vocabulary`; or None."""
        return word_vocabulary(self.training_captions) or None


def references_of(path: Path, rows: Rows, task: str) -> References:
    """Samples of rows, named by every key that tells them apart."""
    if not rows:
        raise UserError(f"{path.name} holds no reference")
    names = unique_columns(id_columns(rows), path.name)
    ids = next(iter(names.values()), tuple(str(i) for i in range(len(rows))))
    samples = tuple(_sample(row, name, where, task) for name, (where, row) in zip(ids, rows, strict=True))
    return References(samples=samples, names=names)


def of_split(rows: Rows, split: str, path: Path) -> Rows:
    """Rows of one split, where they say their own."""
    if not any("split" in row for _, row in rows):
        return rows
    own = [text_of(row.get("split"), f"{where}: 'split', which other rows have") for where, row in rows]
    _require_split(path, split, set(own))
    return [row for row, name in zip(rows, own, strict=True) if name == split]


def _require_split(path: Path, split: str, known: set[str]) -> None:
    if known and split not in known:
        names = ", ".join(f"split={name}" for name in sorted(known))
        raise UserError(f"{path.name} has no split {split!r}; type one of: {names}")


def _sample(row: dict[str, Any], name: str, where: str, task: str) -> Sample:
    texts = truths_of(row, where)
    if not texts and task in ("mask", "ground"):
        texts = ("",)  # the truth is a mask or boxes
    if not texts:
        raise UserError(f"{where} ({name}): no reference; expected one of the keys {', '.join(TRUTHS)}")
    meta = {key: value for key, value in row.items() if key not in _ROW and not is_missing(value)}
    if options := options_of(row, where):
        meta["options"] = options
        if task == "vqa" and not is_missing(row.get("answer")):
            meta["answer"] = text_of(row["answer"], f"{where}: 'answer'", number=True)
    meta |= change_of(row, where)
    if "asks" in meta:
        meta["asks"] = text_of(meta["asks"], f"{where}: 'asks'")
    if "kinds" in meta:
        meta["kinds"] = [text_of(kind, f"{where}: 'kinds'") for kind in list_of(meta["kinds"], f"{where}: 'kinds'")]
    size = numbers_of(meta.get("size_px", [1, 1]), f"{where}: 'size_px'", (1,))
    if len(size) != 2 or (size < 1).any():
        raise UserError(f"{where}: expected 'size_px' as [width, height], found {shown(meta['size_px'])}")
    boxes: dict[str, Any] = {
        key: boxes_of(row[key], f"{where}: {key!r}", width)
        for key, width in (("boxes_px", 4), ("obb_px", 5))
        if row.get(key)
    }
    several = [] if is_missing(row.get("masks")) else list_of(row["masks"], f"{where}: 'masks'")
    kind = kind_of(row, where)
    if task == "change_caption" and not kind:
        kind = _change_kind(row.get("changeflag"), texts, where)
    return Sample(
        id=name,
        images=(Path(name),),
        instruction="",
        responses=texts,
        task=task,
        source="file",
        kind=kind,
        mask=None if is_missing(row.get("mask")) else mask_of(row["mask"], where),
        masks=tuple(mask_of(mask, where) for mask in several),
        meta=meta,
        **boxes,
    )


def _change_kind(flag: Any, texts: Sequence[str], where: str) -> str:
    """The oldest LEVIR-CC json has no flag: a pair is unchanged there when every reference is a no-change sentence."""
    if not is_missing(flag):
        if flag not in (0, 1, "0", "1"):
            raise UserError(f"{where}: expected 'changeflag' as 0 or 1, found {shown(flag)}")
        return "changed" if int(flag) else "unchanged"
    said = {tuple(whitespace(text)) for text in SAYS_NO_CHANGE}
    return "unchanged" if all(tuple(whitespace(text)) in said for text in texts) else "changed"


def karpathy(path: Path, images: Sequence[Any], task: str, split: str) -> References:
    """The images of one split of a Karpathy json, and the captions of its training split."""
    rows: Rows = []
    training: list[str] = []
    for i, image in enumerate(images):
        where = f"{path.name}, images[{i}]"
        if not isinstance(image, dict) or not isinstance(image.get("sentences"), list) or "filename" not in image:
            raise UserError(f"{where}: expected an object with 'filename' and 'sentences'")
        texts = [_sentence(sentence, f"{where}: a sentence") for sentence in image["sentences"]]
        if image.get("split") == "train":
            training += filter(None, texts)
        rows.append(
            (where, {k: v for k, v in image.items() if k not in ("sentences", "sentids")} | {"references": texts})
        )
    _require_split(path, split, {text_of(row["split"], f"{where}: 'split'") for where, row in rows if "split" in row})
    found = references_of(path, [(where, row) for where, row in rows if row.get("split", split) == split], task)
    stems = tuple(Path(name).stem for name in found.names.get("filename", ()))
    names = {**found.names, **({"stem": stems} if stems else {})}
    return References(samples=found.samples, names=names, training_captions=tuple(training))


def _sentence(sentence: Any, where: str) -> str:
    if not isinstance(sentence, dict):
        raise UserError(f"{where}: expected an object with 'raw' or 'tokens', found {shown(sentence)}")
    if "raw" in sentence:
        return text_of(sentence["raw"], where)
    return " ".join(text_of(token, where) for token in list_of(sentence.get("tokens", []), where))


def coco(content: Mapping[str, Any], path: Path) -> Rows:
    """Annotations of one image, or of one question, joined in the order in which they first occur."""
    pictures = [image for image in content.get("images", ()) if isinstance(image, dict) and "id" in image]
    files = {id_of(image["id"], f"{path.name}: the id of an image"): image.get("file_name") for image in pictures}
    rows: dict[str, tuple[str, dict[str, Any]]] = {}
    for i, annotation in enumerate(content["annotations"]):
        where = f"{path.name}, annotations[{i}]"
        if not isinstance(annotation, dict):
            raise UserError(f"{where}: expected an object, found {type(annotation).__name__}")
        key = "question_id" if "question_id" in annotation else "image_id"
        name = id_of(annotation.get(key), f"{where}: {key!r}")
        row = rows.setdefault(name, (where, {key: name, "references": [], "kind": kind_of(annotation, where)}))[1]
        if files.get(name):
            row["file_name"] = files[name]
        row["references"] += truths_of(annotation, where)
    return list(rows.values())
