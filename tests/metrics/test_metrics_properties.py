"""What holds for every metric: no order changes it, the perfect is best, silence is worst."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from rsmoe.data.boxes import ParsedBoxes
from rsmoe.data.change.answers import write_cells, write_counts, write_presence
from rsmoe.data.change.facts import facts_of_masks
from rsmoe.data.change.phrases import SAYS_NO_CHANGE
from rsmoe.data.sample import Sample
from rsmoe.metrics.answers.free_text import free_text_row, free_text_tally
from rsmoe.metrics.answers.multiple_choice import choice_row
from rsmoe.metrics.answers.normalise import exact
from rsmoe.metrics.answers.vqa import accuracy_row, accuracy_tally, judge
from rsmoe.metrics.captions.caption_scores import caption_tally
from rsmoe.metrics.captions.change_captions import change_caption_tally
from rsmoe.metrics.captions.java_meteor import java_meteor_tally
from rsmoe.metrics.captions.object_words import OBJECTS, ObjectWords
from rsmoe.metrics.captions.text_quality import text_quality_tally
from rsmoe.metrics.captions.tokenize import ptb, whitespace
from rsmoe.metrics.change.agreement import ChangeAgreement
from rsmoe.metrics.change.cells_f1 import cells_tally
from rsmoe.metrics.change.counts import counts_tally
from rsmoe.metrics.change.map_iou import ChangeMapOverlap
from rsmoe.metrics.change.presence import presence_tally
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.boundary import boundary_row, boundary_tally
from rsmoe.metrics.regions.class_map_iou import class_map_tally, confusion
from rsmoe.metrics.regions.grounding import grounding_row, grounding_tally
from rsmoe.metrics.regions.instance_masks import instances_row, instances_tally
from rsmoe.metrics.regions.masks import mask_row, mask_tally
from rsmoe.metrics.retrieval.recall import recall_tally
from rsmoe.metrics.retrieval.zero_shot import zero_shot_rows, zero_shot_tally
from rsmoe.metrics.router_accuracy import routing_tally
from rsmoe.metrics.scoring import score
from rsmoe.metrics.tally import Tally

N = 11

Item = tuple[Any, ...]
"""What one sample brings: the prediction first, its references behind."""

Items = Sequence[Item]

rng = np.random.default_rng(3)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A metric, random predictions for it, and how its perfect and its empty prediction look."""

    make: Callable[[Items], Tally | None]
    items: list[Item]
    perfect: Callable[[Item], Item]
    silent: Callable[[Item], Item]
    best: Mapping[str, float]
    worst: Mapping[str, float]
    turned: Callable[[Item], Item] | None = None
    """The same sample with its references in another order; None where each sample has one."""


def by_rows(tally: Callable[..., Tally], row: Callable[..., Any] | None = None) -> Callable[[Items], Tally]:
    """Tally of a row of each item."""
    return lambda items: tally([list(item) if row is None else row(*item) for item in items])


def by_columns(tally: Callable[..., Tally], **options: Any) -> Callable[[Items], Tally]:
    """Tally of all predictions, all references ..."""
    return lambda items: tally(*(list(column) for column in zip(*items, strict=True)), **options)


def full(names: str, value: float = 1.0) -> dict[str, float]:
    return dict.fromkeys(names.split(), value)


def behind(first: Callable[[Item], Any]) -> Callable[[Item], Item]:
    """The item with another prediction, made of the item."""
    return lambda item: (first(item), *item[1:])


# ---- texts

WORDS = "a green lake near the road with many planes é two ships".split()
NOUNS = [" ".join(p) for p in zip(rng.permutation(WORDS * 3)[:N], (f"place{i}" for i in range(N)), strict=True)]


def sentence(i: int) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(4, 9))) + f" and {NOUNS[i % N]}"


TEXTS = [(sentence(i), [sentence(i), sentence(i + 1), sentence(i)]) for i in range(N)]
TEXTS[4] = ("", TEXTS[4][1])
NO = [*SAYS_NO_CHANGE[:3]]
PAIRS = [
    (t, r, "changed") if i % 2 else ((t, SAYS_NO_CHANGE[i % 5])[i % 4 > 1], NO, "unchanged")
    for i, (t, r) in enumerate(TEXTS)
]
KINDS = ["presence", "count", ""]
ANSWERS = [
    (("yes", "no", "", "a five")[i % 4], [("yes", "no")[i % 2], ("yes", "5")[i % 2]], KINDS[i % 3]) for i in range(N)
]
OPTIONS = {"A": "road", "B": "river", "C": "a lake"}
CHOICES = [(("A", "b.", "C. a lake", "A road", "")[i % 5], "ABC"[i % 3], OPTIONS, KINDS[i % 3]) for i in range(N)]
DESCRIBED = [
    (
        ("two ships near a bridge", "a plane", "", "the the the the the the")[i % 4],
        (["ship", "airplane"], None, ["bridge"])[i % 3],
    )
    for i in range(N)
]

BLEU = "bleu1 bleu2 bleu3 bleu4"


def caption(make: Callable[[Items], Tally], best: Mapping[str, float], worst: Mapping[str, float]) -> Case:
    """With one reference, that nobody else has, the perfect caption reaches the 10 of CIDEr-D."""
    return Case(
        make=make,
        items=[*TEXTS],
        perfect=lambda item: (item[1][0], [item[1][0]]),
        silent=behind(lambda _: ""),
        best=best,
        worst=worst,
        turned=lambda item: (item[0], item[1][::-1]),
    )


# ---- change

CELLS = {"road": ["top-left", "center-center"], "building": []}
COUNTS = {"road": 3, "building": 0}
PRESENCE = [((True, False, None)[i % 3], bool(i % 2)) for i in range(N)]
COUNTED = [
    (({"road": i % 4, "building": 1}, None)[i % 5 == 4], COUNTS if i % 3 else dict.fromkeys(COUNTS, 0))
    for i in range(N)
]
PLACED = [
    (
        ({"road": ["center-center"], "building": ["bottom-left", "center-center"]}, None)[i % 5 == 4],
        CELLS if i % 3 else {"road": [], "building": []},
    )
    for i in range(N)
]


def backwards(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value[::-1] if isinstance(value, list) else value for key, value in [*mapping.items()][::-1]}


def change_map(i: int) -> np.ndarray:
    found = np.zeros((12, 12), dtype=np.uint8)
    if i % 3:
        found[1:4, 1 + i % 2 : 5], found[6:9, 6:9] = 1, i % 2
    return found


def pair(i: int, asks: str) -> tuple[Prediction, Sample]:
    """Every third pair is unchanged; pairs 8, 9 and 10 are those of 0, 1 and 2 again."""
    images = tuple(np.full((12, 12, 3), 20 * (i % 8) + date, dtype=np.uint8) for date in (0, 1))
    classes, true = ("nothing", "road", "building"), change_map(i % 8)
    masks = {noun: true == classes.index(noun) for noun in classes[1:]}
    facts = facts_of_masks(masks, id=str(i), images=images, source="toy")
    said = {"presence": write_presence(facts.changed), "count": write_counts(facts.counts)}
    cells = {noun: list(own) for noun, own in facts.cells.items()}
    said["location"] = write_cells(cells)
    meta = {"asks": asks, "changed": facts.changed, "change_counts": dict(facts.counts), "change_cells": cells}
    plain = {"id": f"{i}{asks}", "task": "change_vqa"}
    sample = Sample(
        **plain,
        images=images,
        instruction="?",
        responses=(said[asks],),
        source="toy",
        class_map=true,
        classes=classes,
        meta=meta,
    )
    guess = (write_presence(False), write_counts(COUNTS), write_cells(CELLS), "perhaps")[i % 4]
    return Prediction(
        **plain, text=guess, change_map=None if i == 5 else np.roll(true, i % 2, axis=1) * (1 + (i == 9))
    ), sample


MAPS = [pair(i, ("presence", "count", "location")[i % 3]) for i in range(N)]


def as_said(item: Item) -> Item:
    said, sample = item
    return replace(said, text=sample.responses[0], change_map=sample.class_map), sample


# ---- masks and boxes


def blob(i: int, side: int = 9) -> np.ndarray:
    found = np.zeros((side, side), dtype=bool)
    found[i % 4 : i % 4 + 4, i % 3 : i % 3 + 4] = True
    return found


EMPTY = np.zeros((9, 9), dtype=bool)
MASKS = [((blob(i), None, EMPTY)[i % 3], (blob(i + 1), EMPTY)[i == 4], ("ship", "road")[i % 2]) for i in range(N)]
SEVERAL = [([blob(i), blob(i + 2), EMPTY][: i % 4], [blob(i + 1), blob(i + 3), EMPTY][: 1 + i % 3]) for i in range(N)]
CLASSES = ("water", "road", "wood")
CLASS_MAPS = [
    (rng.integers(0, 4, (5, 6)), np.where(rng.random((5, 6)) < 0.2, 255, rng.integers(0, 3, (5, 6)))) for _ in range(N)
]

TIED = np.array([[2, 0, 12, 10], [0, 0, 10, 6.0]]), np.array([[0, 0, 10, 10], [4, 0, 14, 10.0]])
"""The first box overlaps both true ones equally, the second one of them only: order must not decide who is matched."""


def boxes(i: int) -> Item:
    if i % 4 == 1:
        return ParsedBoxes(boxes=TIED[0]), TIED[1]
    corners = np.sort(rng.uniform(0, 40, (2, 1 + i % 3, 2, 2)), axis=2).reshape(2, -1, 4)
    return ParsedBoxes(boxes=corners[0][: i % 5], failed=("?",) * (i % 2)), corners[1]


BOXES = [boxes(i) for i in range(N)]
ORIENTED = [
    (replace(said, boxes=np.insert(said.boxes, 4, 30.0 * i, axis=1)), np.insert(true, 4, 20.0 * i, axis=1))
    for i, (said, true) in enumerate(BOXES)
]


def grounding(items: list[Item]) -> Case:
    return Case(
        make=by_rows(grounding_tally, grounding_row),
        items=items,
        perfect=behind(lambda item: ParsedBoxes(boxes=item[1])),
        silent=behind(lambda item: ParsedBoxes(boxes=item[1][:0], failed=("",))),
        best=full("acc@0.5 acc@0.7 miou ap@0.5") | {"parse_failures": 0},
        worst=full("acc@0.5 acc@0.7 miou ap@0.5", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1]),
    )


# ---- embeddings and weights

IMAGES = rng.normal(size=(N, 8))
CAPTIONS = rng.normal(size=(N, 8))  # equal captions have equal embeddings
FOUND = [
    (IMAGES[i], f"i{i}", np.stack([CAPTIONS[i], CAPTIONS[i // 2]]), [f"text {i}", f"text {i // 2}"]) for i in range(N)
]
RIGHT = np.eye(N)
SCORES = [(np.round(rng.random(3), 1), CLASSES[i % 3]) for i in range(N)]
WEIGHTS = [(rng.dirichlet([1, 1]), i % 2) for i in range(N)]


def unseen(item: Item) -> Item:
    """Captions that no other image has, so that each can be found."""
    i = int(item[1][1:])
    return RIGHT[i], item[1], np.stack([RIGHT[i]] * 2), [f"{i} a", f"{i} b"]


def ranked(items: Items, *, unique: bool = False) -> Tally:
    images = torch.from_numpy(np.stack([item[0] for item in items]))
    texts = torch.from_numpy(np.concatenate([item[2] for item in items]))
    owners = [place for place, item in enumerate(items) for _ in item[3]]
    captions = [text for item in items for text in item[3]] if unique else None
    return recall_tally(images, texts, owners, captions=captions)


def retrieval(*, unique: bool = False) -> Case:
    recalls = "i2t_r1 i2t_r5 i2t_r10 t2i_r1 t2i_r5 t2i_r10 mr"
    return Case(
        make=lambda items: ranked(items, unique=unique),
        items=[*FOUND],
        perfect=unseen,
        silent=lambda item: (np.zeros(N), item[1], np.zeros((2, N)), [f"{item[1]} a", f"{item[1]} b"]),
        best=full(recalls) | {"parse_failures": 0},
        worst=full(recalls, 0) | {"parse_failures": 3 * N},
        turned=lambda item: (*item[:2], item[2][::-1].copy(), item[3][::-1]),
    )


def classified(items: Items) -> Tally:
    scores = torch.from_numpy(np.stack([item[0] for item in items]))
    return zero_shot_tally(zero_shot_rows(scores, [item[1] for item in items], classes=CLASSES))


def routed(items: Items) -> Tally:
    weights, task = np.stack([item[0] for item in items]), np.array([item[1] for item in items])
    return routing_tally(weights, task, experts=("x", "y"), serves=np.eye(2, dtype=bool))


def segmented(items: Items) -> Tally:
    rows = [[1.0, said is None, *confusion(said, true, len(CLASSES)).ravel()] for said, true in items]
    return class_map_tally(np.array(rows, dtype=np.float64), CLASSES)


def described(items: Items) -> Tally:
    return text_quality_tally([text for text, _ in items], [names for _, names in items], objects=ObjectWords(OBJECTS))


def answered(text: str, references: Sequence[str], kind: str) -> list[Any]:
    return accuracy_row(kind, *judge(text, references, kind, exact))


def on_maps(metric: ChangeMapOverlap | ChangeAgreement) -> Callable[[Items], Tally | None]:
    return lambda items: metric.tally([(sample, prediction) for prediction, sample in items])


CASES: dict[str, Case] = {
    "Caption": caption(
        by_columns(caption_tally, tokenize=whitespace),
        full(f"{BLEU} rouge_l") | {"cider_d": 10.0, "parse_failures": 0},
        full(f"{BLEU} rouge_l cider_d", 0) | {"parse_failures": N},
    ),
    "Caption, METEOR, PTB": caption(
        by_columns(caption_tally, tokenize=ptb, meteor=True),
        full(f"{BLEU} rouge_l meteor") | {"cider_d": 10.0, "s_m": 13 / 4},
        full(f"{BLEU} rouge_l cider_d meteor s_m", 0),
    ),
    "JavaMeteor": caption(
        by_columns(java_meteor_tally, tokenize=ptb),
        full("meteor") | {"parse_failures": 0},
        {"meteor": 0, "parse_failures": N},
    ),
    "ChangeCaptions": Case(
        make=by_columns(change_caption_tally, tokenize=whitespace),
        items=[*PAIRS],
        perfect=behind(lambda item: item[1][0]),
        silent=behind(lambda _: ""),
        best=full(f"{BLEU} rouge_l presence bleu4/changed bleu4/unchanged") | full("false_alarm missed", 0),
        worst=full(f"{BLEU} rouge_l cider_d presence", 0) | full("false_alarm missed") | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1], item[2]),
    ),
    "VQA": Case(
        make=by_rows(accuracy_tally, answered),
        items=[*ANSWERS],
        perfect=behind(lambda item: item[1][0]),
        silent=behind(lambda _: ""),
        best=full("overall average presence count other") | {"parse_failures": 0},
        worst=full("overall average presence count other", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1], item[2]),
    ),
    "FreeText": Case(
        make=by_rows(free_text_tally, free_text_row),
        items=[*ANSWERS],
        perfect=behind(lambda item: item[1][0]),
        silent=behind(lambda _: " ."),
        best=full("exact normalised f1 f1/count") | {"parse_failures": 0},
        worst=full("exact normalised f1 f1/count", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1], item[2]),
    ),
    "MultipleChoice": Case(
        make=by_rows(accuracy_tally, choice_row),
        items=[*CHOICES],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: ""),
        best=full("overall average presence count other") | {"parse_failures": 0},
        worst=full("overall average presence count other", 0) | {"parse_failures": N},
        turned=lambda item: (*item[:2], backwards(item[2]), item[3]),
    ),
    "TextQuality": Case(
        make=described,
        items=[*DESCRIBED],
        perfect=behind(lambda item: " and ".join(item[1] or ["nothing"])),
        silent=behind(lambda _: ""),
        best=full("object_recall") | full("chair_i chair_s repetition parse_failures", 0),
        worst=full("object_recall length vocabulary distinct1", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1] and item[1][::-1]),
    ),
    "ChangePresence": Case(
        make=by_rows(presence_tally),
        items=[*PRESENCE],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("accuracy precision recall f1") | full("false_alarm parse_failures", 0),
        worst=full("accuracy precision recall f1", 0) | {"false_alarm": 1, "parse_failures": N},
    ),
    "ChangeCounts": Case(
        make=by_rows(counts_tally),
        items=[*COUNTED],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("exact") | full("mae/road rmse/road mae/building false_alarm parse_failures", 0),
        worst={"exact": 0, "mae/road": 3, "mae/building": 1, "false_alarm": 1, "parse_failures": N},
        turned=lambda item: (item[0], backwards(item[1])),
    ),
    "ChangeCells": Case(
        make=by_rows(cells_tally),
        items=[*PLACED],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("precision recall f1 jaccard subset f1/road") | full("hamming false_alarm parse_failures", 0),
        worst=full("precision recall f1 jaccard subset", 0) | full("hamming false_alarm") | {"parse_failures": N},
        turned=lambda item: (item[0], backwards(item[1])),
    ),
    "ChangeMapOverlap": Case(
        make=on_maps(ChangeMapOverlap()),
        items=[*MAPS],
        perfect=as_said,
        silent=behind(lambda item: replace(item[0], change_map=None)),
        best=full("iou precision recall f1 miou kind") | {"false_alarm": 0, "n": 8, "parse_failures": 0},
        worst=full("iou precision recall f1 miou", 0) | {"false_alarm": 1, "n": 8, "parse_failures": 8},
    ),
    "ChangeAgreement": Case(
        make=on_maps(ChangeAgreement(min_pixels=1)),
        items=[*MAPS],
        perfect=as_said,
        silent=behind(lambda item: replace(item[0], text="")),
        best=full("presence counts cells_f1") | {"counts_mae": 0},
        worst=full("presence counts cells_f1", 0),
    ),
    "MaskIoU": Case(
        make=by_rows(mask_tally, mask_row),
        items=[*MASKS],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("miou ciou class_miou p@0.5 p@0.9") | {"parse_failures": 0},
        worst=full("miou ciou class_miou p@0.5 p@0.9", 0) | {"parse_failures": N},
    ),
    "InstanceMasks": Case(
        make=by_rows(instances_tally, instances_row),
        items=[*SEVERAL],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: []),
        best=full("miou f1@0.5 precision@0.7 recall@0.7") | {"parse_failures": 0},
        worst=full("miou f1@0.5 precision@0.7 recall@0.7", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1]),
    ),
    "BoundaryF": Case(
        make=by_rows(boundary_tally, boundary_row),
        items=[item[:2] for item in MASKS],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("boundary_f boundary_precision boundary_recall") | {"parse_failures": 0},
        worst=full("boundary_f boundary_precision boundary_recall", 0) | {"parse_failures": N},
    ),
    "ClassMapIoU": Case(
        make=segmented,
        items=[*CLASS_MAPS],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda item: None),
        best=full("miou pixel_accuracy iou/road") | {"parse_failures": 0},
        worst=full("miou pixel_accuracy iou/road", 0) | {"parse_failures": N},
    ),
    "Grounding": grounding([*BOXES]),
    "ObjectBoxes": grounding([*BOXES]),
    "Grounding, oriented": grounding([*ORIENTED]),
    "Retrieval": retrieval(),
    "Retrieval, unique captions": retrieval(unique=True),
    "ZeroShot": Case(
        make=classified,
        items=[*SCORES],
        perfect=behind(lambda item: np.eye(3)[CLASSES.index(item[1])]),
        silent=behind(lambda _: np.full(3, np.nan)),
        best=full("top1 class_top1") | {"parse_failures": 0},
        worst=full("top1 class_top1", 0) | {"parse_failures": N},
    ),
    "RoutingStats": Case(
        make=routed,
        items=[*WEIGHTS],
        perfect=behind(lambda item: np.eye(2)[item[1]]),
        silent=behind(lambda item: np.eye(2)[1 - item[1]]),  # a router cannot be silent, but wrong
        best=full("accuracy agreement mutual_information_normalised") | full("entropy overlap", 0),
        worst={"accuracy": 0},
    ),
}
RUN = [
    name
    for name in CASES
    if name != "JavaMeteor" or (shutil.which("java") and importlib.util.find_spec("pycocoevalcap"))
]


def value(name: str, items: Items) -> dict[str, float]:
    tally = CASES[name].make(items)
    assert tally is not None
    return tally.values()


def same(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert set(found) == set(expected)
    for key, number in expected.items():
        assert found[key] == pytest.approx(number, abs=1e-9, nan_ok=True), key


@pytest.mark.parametrize("name", RUN)
def test_order_of_samples_and_of_references_changes_nothing(name: str) -> None:
    items, turned = CASES[name].items, CASES[name].turned
    expected = value(name, items)
    shuffled = [items[i] for i in np.random.default_rng(1).permutation(len(items))]
    same(value(name, shuffled), expected)
    same(value(name, shuffled[::-1]), expected)
    if turned is not None:
        assert any(not np.array_equal(str(turned(item)), str(item)) for item in items)
        same(value(name, [turned(item) for item in items]), expected)


@pytest.mark.parametrize("name", RUN)
def test_the_perfect_prediction_is_best_and_silence_is_worst(name: str) -> None:
    case = CASES[name]
    usual = value(name, case.items)
    for change, bounds, sign in ((case.perfect, case.best, 1), (case.silent, case.worst, -1)):
        found = value(name, [change(item) for item in case.items])
        for key, bound in bounds.items():
            assert found[key] == pytest.approx(bound, abs=1e-4), (key, sign)
    for key, bound in case.best.items():
        if key in case.worst and key in usual and key not in ("n", "parse_failures"):
            low, high = sorted((case.worst[key], bound))
            assert low - 1e-9 <= usual[key] <= high + 1e-9, key


def test_a_pair_that_is_asked_twice_counts_once() -> None:
    """Whichever of its maps came first."""
    one, again = pair(1, "presence"), pair(9, "count")
    assert not np.array_equal(one[0].change_map, again[0].change_map)
    same(value("ChangeMapOverlap", [one, again]), value("ChangeMapOverlap", [again, one]))
    assert value("ChangeMapOverlap", [one, again])["n"] == 1


def test_beside_a_metric_stands_how_many_pairs_it_saw() -> None:
    predictions, samples = zip(*MAPS, strict=True)
    results = score(samples, predictions, protocol_prefix="", split="test", metrics={"map": ChangeMapOverlap()})
    found = {r.metric: (r.n, r.parse_failures) for r in results if r.metric.startswith("map/")}
    assert found["map/iou"] == (8, 1) and found["map/false_alarm"] == (3, 1), "11 requests on 8 pairs"
    assert not [name for name in found if name.startswith(("map/n", "map/parse"))]
