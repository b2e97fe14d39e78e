"""What holds for every metric: no order and no number of ranks changes it, the perfect is best, silence is worst."""

from __future__ import annotations

import importlib
import json
import pkgutil
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed
from torch import multiprocessing as mp
from torchmetrics import Metric

import rsmoe.metrics
from rsmoe.data.boxes import ParsedBoxes
from rsmoe.data.change.answers import write_cells, write_counts, write_presence
from rsmoe.data.change.facts import facts_of_masks
from rsmoe.data.sample import Sample
from rsmoe.metrics.answers.free_text import FreeText
from rsmoe.metrics.answers.multiple_choice import MultipleChoice
from rsmoe.metrics.answers.vqa import VQA
from rsmoe.metrics.captions.caption_scores import Caption
from rsmoe.metrics.captions.change_captions import NO_CHANGE, ChangeCaptions
from rsmoe.metrics.captions.java_meteor import JavaMeteor
from rsmoe.metrics.captions.text_quality import TextQuality
from rsmoe.metrics.change.agreement import ChangeAgreement
from rsmoe.metrics.change.cells_f1 import ChangeCells
from rsmoe.metrics.change.map_iou import ChangeMapOverlap
from rsmoe.metrics.change.presence import ChangeCounts, ChangePresence
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.boundary import BoundaryF
from rsmoe.metrics.regions.class_map_iou import ClassMapIoU
from rsmoe.metrics.regions.grounding import Grounding
from rsmoe.metrics.regions.instance_masks import InstanceMasks
from rsmoe.metrics.regions.masks import MaskIoU
from rsmoe.metrics.retrieval.recall import Retrieval
from rsmoe.metrics.retrieval.selo import SeLo
from rsmoe.metrics.retrieval.zero_shot import ZeroShot
from rsmoe.metrics.router_accuracy import RoutingStats
from rsmoe.metrics.row_metric import RowMetric

N = 11
SHARES = {"uneven": (range(7), range(7, N)), "one rank empty": (range(N), range(0))}

Item = tuple[Any, ...]
"""What one sample brings to `update`: the prediction first, its references behind."""

rng = np.random.default_rng(3)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A metric, random predictions for it, and how its perfect and its empty prediction look."""

    make: Callable[[], Metric]
    items: list[Item]
    perfect: Callable[[Item], Item]
    silent: Callable[[Item], Item]
    best: Mapping[str, float]
    worst: Mapping[str, float]
    turned: Callable[[Item], Item] | None = None
    """The same sample with its references in another order; None where each sample has one."""
    columns: Callable[[Sequence[Item]], Sequence[Any]] = field(
        default=lambda items: [list(c) for c in zip(*items, strict=True)]
    )


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
NO = [*NO_CHANGE[:3]]
PAIRS = [
    (t, r, "changed") if i % 2 else ((t, NO_CHANGE[i % 5])[i % 4 > 1], NO, "unchanged")
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


def caption(make: Callable[[], Metric], best: Mapping[str, float], worst: Mapping[str, float]) -> Case:
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


def grounding(make: Callable[[], Metric], items: list[Item]) -> Case:
    return Case(
        make=make,
        items=items,
        perfect=behind(lambda item: ParsedBoxes(boxes=item[1])),
        silent=behind(lambda item: ParsedBoxes(boxes=item[1][:0], failed=("",))),
        best=full("acc@0.5 acc@0.7 miou ap@0.5") | {"parse_failures": 0},
        worst=full("acc@0.5 acc@0.7 miou ap@0.5", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1]),
    )


def square(x: int, y: int) -> np.ndarray:
    return np.array([(x, y), (x + 20, y), (x + 20, y + 20), (x, y + 20)], dtype=float)


REGIONS = [[square(20, 20)], [square(20, 20), square(70, 60)]]
PROBABILITY = [(rng.random((100, 120)), REGIONS[i % 2]) for i in range(N)]


def inside(item: Item) -> Item:
    """One region far from the border: five blurs of 50 pixels draw two regions, and the border, into one."""
    found = np.zeros((260, 260))
    found[120:141, 120:141] = 1.0
    return found, [square(120, 120)]


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


def retrieval(make: Callable[[], Metric]) -> Case:
    recalls = "i2t_r1 i2t_r5 i2t_r10 t2i_r1 t2i_r5 t2i_r10 mr"
    return Case(
        make=make,
        items=[*FOUND],
        perfect=unseen,
        silent=lambda item: (np.zeros(N), item[1], np.zeros((2, N)), [f"{item[1]} a", f"{item[1]} b"]),
        best=full(recalls) | {"parse_failures": 0},
        worst=full(recalls, 0) | {"parse_failures": 3 * N},
        turned=lambda item: (*item[:2], item[2][::-1].copy(), item[3][::-1]),
        columns=lambda items: (
            torch.from_numpy(np.stack([i[0] for i in items])),
            [i[1] for i in items],
            torch.from_numpy(np.concatenate([i[2] for i in items])),
            [i[1] for i in items for _ in i[3]],
            [text for i in items for text in i[3]],
        ),
    )


def tensors(items: Sequence[Item]) -> Sequence[Any]:
    """Scores or weights as one tensor, labels as they are, task indices as a tensor."""
    labels = [item[1] for item in items]
    first = torch.from_numpy(np.stack([item[0] for item in items]))
    return first, labels if isinstance(labels[0], str) else torch.tensor(labels)


CASES: dict[str, Case] = {
    "Caption": caption(
        Caption,
        full(f"{BLEU} rouge_l") | {"cider_d": 10.0, "parse_failures": 0},
        full(f"{BLEU} rouge_l cider_d", 0) | {"parse_failures": N},
    ),
    "Caption, METEOR, PTB": caption(
        lambda: Caption(meteor=True, tokenize="ptb"),
        full(f"{BLEU} rouge_l meteor") | {"cider_d": 10.0, "s_m": 13 / 4},
        full(f"{BLEU} rouge_l cider_d meteor s_m", 0),
    ),
    "JavaMeteor": caption(JavaMeteor, full("meteor") | {"parse_failures": 0}, {"meteor": 0, "parse_failures": N}),
    "ChangeCaptions": Case(
        make=ChangeCaptions,
        items=[*PAIRS],
        perfect=behind(lambda item: item[1][0]),
        silent=behind(lambda _: ""),
        best=full(f"{BLEU} rouge_l presence bleu4/changed bleu4/unchanged") | full("false_alarm missed", 0),
        worst=full(f"{BLEU} rouge_l cider_d presence", 0) | full("false_alarm missed") | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1], item[2]),
    ),
    "VQA": Case(
        make=VQA,
        items=[*ANSWERS],
        perfect=behind(lambda item: item[1][0]),
        silent=behind(lambda _: ""),
        best=full("overall average presence count other") | {"parse_failures": 0},
        worst=full("overall average presence count other", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1], item[2]),
    ),
    "FreeText": Case(
        make=FreeText,
        items=[*ANSWERS],
        perfect=behind(lambda item: item[1][0]),
        silent=behind(lambda _: " ."),
        best=full("exact normalised f1 f1/count") | {"parse_failures": 0},
        worst=full("exact normalised f1 f1/count", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1], item[2]),
    ),
    "MultipleChoice": Case(
        make=MultipleChoice,
        items=[*CHOICES],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: ""),
        best=full("overall average presence count other") | {"parse_failures": 0},
        worst=full("overall average presence count other", 0) | {"parse_failures": N},
        turned=lambda item: (*item[:2], backwards(item[2]), item[3]),
    ),
    "TextQuality": Case(
        make=TextQuality,
        items=[*DESCRIBED],
        perfect=behind(lambda item: " and ".join(item[1] or ["nothing"])),
        silent=behind(lambda _: ""),
        best=full("object_recall") | full("chair_i chair_s repetition parse_failures", 0),
        worst=full("object_recall length vocabulary distinct1", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1] and item[1][::-1]),
    ),
    "ChangePresence": Case(
        make=ChangePresence,
        items=[*PRESENCE],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("accuracy precision recall f1") | full("false_alarm parse_failures", 0),
        worst=full("accuracy precision recall f1", 0) | {"false_alarm": 1, "parse_failures": N},
    ),
    "ChangeCounts": Case(
        make=ChangeCounts,
        items=[*COUNTED],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("exact") | full("mae/road rmse/road mae/building false_alarm parse_failures", 0),
        worst={"exact": 0, "mae/road": 3, "mae/building": 1, "false_alarm": 1, "parse_failures": N},
        turned=lambda item: (item[0], backwards(item[1])),
    ),
    "ChangeCells": Case(
        make=ChangeCells,
        items=[*PLACED],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("precision recall f1 jaccard subset f1/road") | full("hamming false_alarm parse_failures", 0),
        worst=full("precision recall f1 jaccard subset", 0) | full("hamming false_alarm") | {"parse_failures": N},
        turned=lambda item: (item[0], backwards(item[1])),
    ),
    "ChangeMapOverlap": Case(
        make=ChangeMapOverlap,
        items=[*MAPS],
        perfect=as_said,
        silent=behind(lambda item: replace(item[0], change_map=None)),
        best=full("iou precision recall f1 miou kind", 100) | {"false_alarm": 0, "n": 8, "parse_failures": 0},
        worst=full("iou precision recall f1 miou", 0) | {"false_alarm": 100, "n": 8, "parse_failures": 8},
    ),
    "ChangeAgreement": Case(
        make=lambda: ChangeAgreement(min_pixels=1),
        items=[*MAPS],
        perfect=as_said,
        silent=behind(lambda item: replace(item[0], text="")),
        best=full("presence counts cells_f1", 100) | {"counts_mae": 0},
        worst=full("presence counts cells_f1", 0),
    ),
    "MaskIoU": Case(
        make=MaskIoU,
        items=[*MASKS],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("miou ciou class_miou p@0.5 p@0.9") | {"parse_failures": 0},
        worst=full("miou ciou class_miou p@0.5 p@0.9", 0) | {"parse_failures": N},
    ),
    "InstanceMasks": Case(
        make=InstanceMasks,
        items=[*SEVERAL],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: []),
        best=full("miou f1@0.5 precision@0.7 recall@0.7") | {"parse_failures": 0},
        worst=full("miou f1@0.5 precision@0.7 recall@0.7", 0) | {"parse_failures": N},
        turned=lambda item: (item[0], item[1][::-1]),
    ),
    "BoundaryF": Case(
        make=BoundaryF,
        items=[item[:2] for item in MASKS],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda _: None),
        best=full("boundary_f boundary_precision boundary_recall") | {"parse_failures": 0},
        worst=full("boundary_f boundary_precision boundary_recall", 0) | {"parse_failures": N},
    ),
    "ClassMapIoU": Case(
        make=lambda: ClassMapIoU(classes=CLASSES),
        items=[*CLASS_MAPS],
        perfect=behind(lambda item: item[1]),
        silent=behind(lambda item: np.full_like(item[1], 255)),
        best=full("miou pixel_accuracy iou/road"),
        worst=full("miou pixel_accuracy iou/road", 0),
    ),
    "Grounding": grounding(Grounding, [*BOXES]),
    "Grounding, oriented": grounding(lambda: Grounding(oriented=True), [*ORIENTED]),
    "SeLo": Case(
        make=SeLo,
        items=[*PROBABILITY],
        perfect=inside,
        silent=behind(lambda item: np.zeros_like(item[0])),
        best=full("rsu rda rmi") | {"ras": 0},
        worst=full("rsu rda rmi", 0) | {"ras": 1},
        turned=lambda item: (item[0], item[1][::-1]),
    ),
    "Retrieval": retrieval(Retrieval),
    "Retrieval, unique captions": retrieval(lambda: Retrieval(unique=True)),
    "ZeroShot": Case(
        make=lambda: ZeroShot(classes=CLASSES),
        items=[*SCORES],
        perfect=behind(lambda item: np.eye(3)[CLASSES.index(item[1])]),
        silent=behind(lambda _: np.full(3, np.nan)),
        best=full("top1 class_top1") | {"parse_failures": 0},
        worst=full("top1 class_top1", 0) | {"parse_failures": N},
        columns=tensors,
    ),
    "RoutingStats": Case(
        make=lambda: RoutingStats(experts=("x", "y"), expert_tasks=(("caption",), ("vqa",))),
        items=[*WEIGHTS],
        perfect=behind(lambda item: np.eye(2)[item[1]]),
        silent=behind(lambda item: np.eye(2)[1 - item[1]]),  # a router cannot be silent, but wrong
        best=full("accuracy agreement mutual_information_normalised") | full("entropy overlap", 0),
        worst={"accuracy": 0},
        columns=tensors,
    ),
}
RUN = [
    name
    for name in CASES
    if name != "JavaMeteor" or (shutil.which("java") and importlib.util.find_spec("pycocoevalcap"))
]


def filled(name: str, items: Sequence[Item], *, at_once: bool = False) -> Metric:
    case = CASES[name]
    metric = case.make()
    for part in [items] if at_once else [[item] for item in items]:
        metric.update(*case.columns(part))
    return metric


def value(name: str, items: Sequence[Item], **kwargs: bool) -> dict[str, float]:
    found = filled(name, items, **kwargs).compute()
    return {key: float(number) for key, number in found.items()}


def same(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert set(found) == set(expected)
    for key, number in expected.items():
        assert found[key] == pytest.approx(number, abs=1e-9, nan_ok=True), key


def test_every_metric_is_here() -> None:
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(rsmoe.metrics.__path__, "rsmoe.metrics.")]
    defined = {
        found.__name__
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Metric) and found.__module__ == module.__name__
    }
    assert defined - {RowMetric.__name__} == {name.split(",")[0] for name in CASES}


@pytest.mark.parametrize("name", RUN)
def test_order_of_samples_and_of_references_changes_nothing(name: str) -> None:
    items, turned = CASES[name].items, CASES[name].turned
    expected = value(name, items)
    same(value(name, items, at_once=True), expected)
    shuffled = [items[i] for i in np.random.default_rng(1).permutation(len(items))]
    same(value(name, shuffled), expected)
    same(value(name, shuffled[::-1], at_once=True), expected)
    if turned is not None:
        assert any(not np.array_equal(str(turned(item)), str(item)) for item in items)
        same(value(name, [turned(item) for item in items]), expected)


@pytest.mark.parametrize("name", RUN)
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_merged_parts_are_the_whole(name: str) -> None:
    items = CASES[name].items
    expected = value(name, items)
    for cuts in ((0, 4, 9, N), (0, 0, N), (0, N, N)):
        parts = [filled(name, items[a:b]) for a, b in pairwise(cuts)]
        for other in parts[1:]:
            parts[0].merge_state(other)
        same({key: float(v) for key, v in parts[0].compute().items()}, expected)


@pytest.mark.parametrize("name", RUN)
def test_the_perfect_prediction_is_best_and_silence_is_worst(name: str) -> None:
    case = CASES[name]
    usual = value(name, case.items)
    for change, bounds, sign in ((case.perfect, case.best, 1), (case.silent, case.worst, -1)):
        found = value(name, [change(item) for item in case.items])
        for key, bound in bounds.items():
            assert found[key] == pytest.approx(bound, abs=0.05 if name == "SeLo" else 1e-4), (key, sign)
    for key, bound in case.best.items():
        if key in case.worst and key in usual and key not in ("n", "parse_failures"):
            low, high = sorted((case.worst[key], bound))
            assert low - 1e-9 <= usual[key] <= high + 1e-9, key


@pytest.mark.parametrize("name", RUN)
def test_reset_forgets(name: str) -> None:
    items = CASES[name].items
    metric = filled(name, items[:4])
    metric.reset()
    metric.update(*CASES[name].columns(items))
    same({key: float(v) for key, v in metric.compute().items()}, value(name, items))


def test_a_pair_that_is_asked_twice_counts_once() -> None:
    """In one update, in two, and on two ranks; whichever of its maps came first."""
    one, again = pair(1, "presence"), pair(9, "count")
    assert not np.array_equal(one[0].change_map, again[0].change_map)
    same(value("ChangeMapOverlap", [one, again]), value("ChangeMapOverlap", [again, one], at_once=True))
    assert value("ChangeMapOverlap", [one, again])["n"] == 1


def test_beside_a_metric_stands_how_many_pairs_it_saw() -> None:
    from rsmoe.evaluation.evaluate_splits import _own  # not at the top: two more processes would import all of training

    predictions, samples = zip(*MAPS, strict=True)
    node = {"_target_": "rsmoe.metrics.change.map_iou.ChangeMapOverlap"}
    found = {r.metric: (r.n, r.parse_failures) for r in _own("map", node, samples, predictions, "", "test")}
    assert found["map/iou"] == (8, 1) and found["map/false_alarm"] == (3, 1), "11 requests on 8 pairs"
    assert not [name for name in found if name.startswith(("map/n", "map/parse"))]


# ---- two processes


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    values = {
        f"{share}, {name}": value(name, [CASES[name].items[i] for i in parts[rank]])
        for share, parts in SHARES.items()
        for name in RUN
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(values))
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        values = json.loads((tmp_path / f"{rank}.json").read_text())
        for name in RUN:
            for share in SHARES:
                same(values[f"{share}, {name}"], value(name, CASES[name].items))
