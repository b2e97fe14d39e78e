"""Pairs of a sample and its prediction -> the tally of a protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rsmoe.data.boxes import ParsedBoxes, convention, hbb_of_obb, parse
from rsmoe.data.change.answers import CHANGE_CLASSES, read_target
from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.answers.free_text import free_text_row, free_text_tally
from rsmoe.metrics.answers.multiple_choice import choice_row
from rsmoe.metrics.answers.normalise import Same, exact, rsvqa
from rsmoe.metrics.answers.vqa import Kinds, accuracy_row, accuracy_tally, judge
from rsmoe.metrics.captions.caption_scores import caption_tally
from rsmoe.metrics.captions.change_captions import change_caption_tally
from rsmoe.metrics.captions.java_meteor import java_meteor_tally
from rsmoe.metrics.captions.object_words import OBJECTS, ObjectWords
from rsmoe.metrics.captions.text_quality import text_quality_tally
from rsmoe.metrics.captions.tokenize import Tokenizer, tokenizer, word_ids
from rsmoe.metrics.change.cells_f1 import cells_tally
from rsmoe.metrics.change.presence import counts_tally, presence_tally
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.boundary import boundary_row, boundary_tally
from rsmoe.metrics.regions.grounding import grounding_row, grounding_tally
from rsmoe.metrics.regions.instance_masks import instances_row, instances_tally
from rsmoe.metrics.regions.masks import mask_row, mask_tally
from rsmoe.metrics.retrieval.ranking import ranking_row, ranking_tally
from rsmoe.metrics.retrieval.recall import Retrieval
from rsmoe.metrics.tally import Tally, beside

Pairs = Sequence[tuple[Sample, Prediction]]
Vocabulary = Mapping[str, int] | None
"""Word -> id, for protocols on word ids."""

Scorer = Callable[[Pairs, Vocabulary], Tally]


def _caption(tokenize: str, *, meteor: bool = False) -> Scorer:
    def run(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
        texts, references = [p.text for _, p in pairs], [s.responses for s, _ in pairs]
        return caption_tally(texts, references, tokenize=_tokenizer(tokenize, vocabulary), meteor=meteor)

    return run


def _java_meteor(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
    texts, references = [p.text for _, p in pairs], [s.responses for s, _ in pairs]
    java = java_meteor_tally(texts, references, tokenize=tokenizer("ptb"))
    return beside(caption_tally(texts, references, tokenize=tokenizer("ptb")), java)


def _change_caption(tokenize: str, *, meteor: bool = False) -> Scorer:
    def run(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
        texts, references = [p.text for _, p in pairs], [s.responses for s, _ in pairs]
        kinds = [s.kind for s, _ in pairs]
        words = _tokenizer(tokenize, vocabulary)
        return change_caption_tally(texts, references, kinds, tokenize=words, meteor=meteor)

    return run


def _tokenizer(name: str, vocabulary: Vocabulary) -> Tokenizer:
    if name != "word_ids":
        return tokenizer(name)
    if vocabulary is None:
        raise UserError("a protocol on word ids needs the vocabulary of the release: give vocabulary=vocab.json")
    return word_ids(vocabulary)


def _text_quality(pairs: Pairs, vocabulary: Vocabulary = None) -> Tally:
    """Objects are known where every label of a sample is a class that has names."""
    known = [s.labels if s.labels and set(s.labels) <= set(OBJECTS) else None for s, _ in pairs]
    return text_quality_tally([p.text for _, p in pairs], known, objects=ObjectWords(OBJECTS))


def _vqa(same: Same) -> Scorer:
    def run(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
        return accuracy_tally([accuracy_row(_kinds(s), *judge(p.text, s.responses, _kinds(s), same)) for s, p in pairs])

    return run


def _free_text(pairs: Pairs, vocabulary: Vocabulary = None) -> Tally:
    return free_text_tally([free_text_row(p.text, s.responses, s.kind) for s, p in pairs])


def _choice(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
    rows = []
    for sample, prediction in pairs:
        if not sample.meta.get("options"):
            raise UserError(f"sample {sample.id!r} has no options: this protocol needs them as {{letter: text}}")
        answer = str(sample.meta.get("answer", sample.responses[0]))
        rows.append(choice_row(prediction.text, answer, sample.meta["options"], _kinds(sample)))
    return accuracy_tally(rows)


def _kinds(sample: Sample) -> Kinds:
    """LHRS-Bench counts one question in several types."""
    return tuple(sample.meta["kinds"]) if sample.meta.get("kinds") else sample.kind


def _presence(pairs: Pairs, vocabulary: Vocabulary = None) -> Tally:
    return presence_tally(_targets(pairs, "presence", "changed"))


def _counts(pairs: Pairs, vocabulary: Vocabulary = None) -> Tally:
    return counts_tally(_targets(pairs, "count", "change_counts"))


def _cells(pairs: Pairs, vocabulary: Vocabulary = None) -> Tally:
    return cells_tally(_targets(pairs, "location", "change_cells"))


def _cells_sklearn(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
    return cells_tally(_targets(pairs, "location", "change_cells"), empty_jaccard=0.0)


def _targets(pairs: Pairs, asks: str, key: str) -> list[list[Any]]:
    """[what was said, or None; what is true] a pair, in the structured form of `Sample.meta`."""
    rows = []
    for sample, prediction in pairs:
        truth = sample.meta.get(key)
        if truth is None:
            truth = (read_target(asks, sample.responses[0], CHANGE_CLASSES) or {}).get(key)
        if truth is None:
            raise UserError(f"the reference of {sample.id!r}, {sample.responses[0][:60]!r}, does not say a {asks}")
        classes = tuple(truth) if isinstance(truth, Mapping) else CHANGE_CLASSES
        said = read_target(asks, prediction.text, classes)
        rows.append([None if said is None else said[key], truth])
    return rows


def _changechat(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
    """Each question by what it asks for; what is neither of the three is free text."""
    parts: dict[str, Callable[..., Tally]] = {"presence": _presence, "count": _counts, "location": _cells}
    groups: dict[str, list[int]] = {}
    for i, (sample, _) in enumerate(pairs):
        asks = sample.meta.get("asks", "")
        groups.setdefault(asks if asks in parts else "text", []).append(i)
    tallies = [
        parts.get(name, _free_text)([pairs[i] for i in places]).part(name, places, len(pairs))
        for name, places in sorted(groups.items())
    ]
    together = beside(*tallies)

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        found = together.finish(sums)
        total = {key: sum(found[f"{key}/{name}"] for name in groups) for key in ("n", "parse_failures")}
        return {**found, **{key: np.asarray(value) for key, value in total.items()}}

    return Tally(rows=together.rows, finish=finish)


def _ground(*, oriented: bool = False, legacy_plus_one: bool = False) -> Scorer:
    def run(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
        rows = []
        for sample, prediction in pairs:
            answer, true, size_px = _boxes(sample, prediction, oriented)
            rows.append(grounding_row(answer, true, plus_one_in=size_px if legacy_plus_one else None))
        return grounding_tally(rows)

    return run


def _boxes(sample: Sample, prediction: Prediction, oriented: bool) -> tuple[ParsedBoxes, np.ndarray, tuple[int, int]]:
    """Parsed answer, true boxes, the picture's size; oriented boxes become their hull where horizontal ones count."""
    name, size = sample.meta.get("box_convention"), sample.meta.get("size_px")
    if not name or not size:
        raise UserError(
            f"sample {sample.id!r} does not say how its boxes are written: it needs box_convention, size_px"
        )
    parsed = parse(prediction.text, convention=str(name), size_px=(int(size[0]), int(size[1])))
    target = sample.obb_px if oriented or sample.boxes_px is None else sample.boxes_px
    if target is None or (oriented and not convention(str(name)).oriented):
        raise UserError(f"sample {sample.id!r} has no oriented boxes in truth and answer. Use protocol ground/hbb@1")
    if not oriented:  # hulls are cut to the picture, as horizontal boxes are when they are read
        edge = [*size, *size]
        target = hbb_of_obb(target).clip(0, edge) if target.shape[1] == 5 else target
        if parsed.boxes.shape[1] == 5:
            parsed = ParsedBoxes(boxes=hbb_of_obb(parsed.boxes).clip(0, edge), failed=parsed.failed)
    return parsed, target, (int(size[0]), int(size[1]))


def _mask(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
    return mask_tally([mask_row(p.mask, _target(s), s.kind) for s, p in pairs])


def _boundary(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
    return boundary_tally([boundary_row(p.mask, _target(s)) for s, p in pairs])


def _instances(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
    rows = []
    for sample, prediction in pairs:
        targets = [read_array(mask) for mask in sample.meta.get("masks", ())] or [_target(sample)]
        single = () if prediction.mask is None else (prediction.mask,)
        rows.append(instances_row(prediction.masks or single, targets))
    return instances_tally(rows)


def _target(sample: Sample) -> np.ndarray:
    if sample.mask is None:
        raise ValueError(f"sample {sample.id!r} is of task 'mask' and has no mask")
    return read_array(sample.mask)


def _retrieval(*, unique: bool = False) -> Scorer:
    def run(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
        given = (e for _, p in pairs for e in (p.image_embedding, p.text_embeddings) if e is not None)
        width = next((e.shape[-1] for e in given), 1)
        captions: list[str] = []
        images, texts, owners = [], [], []
        for sample, prediction in pairs:
            image, text = prediction.image_embedding, prediction.text_embeddings
            images.append(np.zeros(width) if image is None else image)
            texts.append(np.zeros((len(sample.responses), width)) if text is None else text)
            if len(texts[-1]) != len(sample.responses):
                raise UserError(
                    f"{len(texts[-1])} text embeddings for {len(sample.responses)} references of {sample.id!r}"
                )
            owners += [sample.id] * len(texts[-1])
            captions += sample.responses
        metric = Retrieval(unique=unique, sync_on_compute=False)
        stacked = torch.from_numpy(np.stack(images)), torch.from_numpy(np.concatenate(texts))
        metric.update(stacked[0], [s.id for s, _ in pairs], stacked[1], owners, captions)
        return metric.tally()

    return run


def _ranking(pairs: Pairs, vocabulary: Vocabulary) -> Tally:
    return ranking_tally([ranking_row(p.ranking, s.responses) for s, p in pairs])


SCORERS: dict[str, Scorer] = {
    "caption/coco-whitespace@1": _caption("whitespace"),
    "caption/coco-ptb@1": _caption("ptb"),
    "caption/meteor-ptb@1": _caption("ptb", meteor=True),
    "caption/meteor-java@1": _java_meteor,
    "caption/levir-ids@1": _caption("word_ids", meteor=True),
    "change-caption/whitespace@1": _change_caption("whitespace"),
    "change-caption/ptb@1": _change_caption("ptb"),
    "change-caption/meteor-ptb@1": _change_caption("ptb", meteor=True),
    "change-caption/levir-ids@1": _change_caption("word_ids", meteor=True),
    "text/quality@1": _text_quality,
    "vqa/exact@1": _vqa(exact),
    "vqa/rsvqa@1": _vqa(rsvqa),
    "vqa/free-text@1": _free_text,
    "vqa/multiple-choice@1": _choice,
    "change-vqa/changechat@1": _changechat,
    "change/presence@1": _presence,
    "change/counts@1": _counts,
    "change/cells@1": _cells,
    "change/cells-sklearn@1": _cells_sklearn,
    "ground/hbb@1": _ground(),
    "ground/obb@1": _ground(oriented=True),
    "ground/legacy-plus-one@1": _ground(legacy_plus_one=True),
    "mask/giou@1": _mask,
    "mask/boundary@1": _boundary,
    "mask/instances@1": _instances,
    "retrieval/all-captions@1": _retrieval(),
    "retrieval/unique-captions@1": _retrieval(unique=True),
    "retrieval/ranking@1": _ranking,
}
"""Every protocol that scores samples, by id; others of `protocols.PROTOCOLS` belong to metrics with other inputs."""

ON_WORD_IDS = frozenset({"caption/levir-ids@1", "change-caption/levir-ids@1"})
"""Those that need a `Vocabulary`."""
