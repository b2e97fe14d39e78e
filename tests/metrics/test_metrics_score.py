import json
import random
import re
from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest
import torch
from rich.console import Console

from rsmoe.config_folders import conf_dir
from rsmoe.data.boxes import parse
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task, task_names
from rsmoe.errors import UserError
from rsmoe.evaluation.baselines import Baselines
from rsmoe.evaluation.table import results_table
from rsmoe.metrics import find_metric, metrics, protocols
from rsmoe.metrics.bootstrap import differences, intervals
from rsmoe.metrics.captions.change_captions import change_caption_tally
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.regions.grounding import grounding_row, grounding_tally
from rsmoe.metrics.result import Result
from rsmoe.metrics.scoring import compare, match, score
from rsmoe.metrics.tally import Tally, beside, overlap, ratio

PICTURES = map(np.random.default_rng(0).integers, repeat(0), repeat(255), repeat((8, 8, 3)), repeat(np.uint8))


def sample(i: object, task: str, instruction: str, *responses: str, **extra: object) -> Sample:
    return Sample(
        id=f"{task}-{i}",
        images=(next(PICTURES),),
        instruction=instruction,
        responses=responses,
        task=task,
        source="toy",
        **extra,
    )  # type: ignore[arg-type]


def top(rows: int) -> np.ndarray:
    mask = np.zeros((8, 8), dtype=bool)
    mask[:rows] = True
    return mask


def world(seed: int, n: int = 12) -> list[Sample]:
    """Every task: lakes and woods, where the answer depends on the image and on the question."""
    rng, samples = random.Random(seed), []
    for i in range(n):
        place = "lake" if i % 3 else "wood"
        colour = rng.choice(["blue", "green"])
        text = (f"a {colour} {place} near the road", f"there is a {colour} {place}")
        samples += [
            sample(i, "caption", "describe the image", *text, meta={"place": place}),
            sample(
                f"{i}p", "vqa", "is there a lake?", "yes" if i % 3 else "no", kind="presence", meta={"place": place}
            ),
            sample(f"{i}r", "vqa", "is there a road?", "yes", kind="presence", meta={"place": place}),
            sample(
                i, "mask", f"segment the {place}", "[SEG]", kind=place, mask=top(3 + (i % 3 > 0)), meta={"place": place}
            ),
            sample(i, "retrieval", "match", *text, meta={"place": place}),
            sample(
                i,
                "change_caption",
                "what changed?",
                *(("no change has occurred",) * 2 if i % 2 else ("a house is built", "a new house appears")),
                kind="unchanged" if i % 2 else "changed",
                meta={"place": place},
            ),
        ]
    return samples


def perfect(samples: list[Sample]) -> list[Prediction]:
    count = sum(s.task == "retrieval" for s in samples)
    eye, seen, answers = np.eye(count), 0, []
    for s in samples:
        answer = Prediction(id=s.id, task=s.task, kind=s.kind, text=s.responses[0], mask=s.mask)
        answer = replace(answer, weights=(1.0, 0.0) if s.task == "vqa" else (0.0, 1.0), experts=("v", "rest"))
        if s.task == "retrieval":
            answer = replace(
                answer, image_embedding=eye[seen], text_embeddings=np.stack([eye[seen]] * len(s.responses))
            )
            seen += 1
        answers.append(answer)
    return answers


def values(results: list[Result]) -> dict[str, float]:
    assert len({r.metric for r in results}) == len(results)
    return {r.metric: r.value for r in results}


def test_perfect_predictions_of_every_task() -> None:
    samples = world(0)
    serves = {"v": ("vqa",), "rest": ("caption", "mask", "retrieval", "change_caption")}
    results = score(samples, perfect(samples), protocol_prefix="generated/", split="test", expert_tasks=serves)
    found = values(results)
    for metric in ("caption/bleu4", "vqa/presence", "vqa/average", "mask/miou", "retrieval/mr", "retrieval/i2t_r1"):
        assert found[metric] == pytest.approx(100.0, abs=1e-4), metric
    for metric in ("caption/rouge_l", "change_caption/bleu1/changed", "change_caption/presence", "routing/accuracy"):
        assert found[metric] == pytest.approx(100.0, abs=1e-4), metric
    assert 0 < found["caption/cider_d"] <= 1000
    assert found["change_caption/false_alarm"] == found["change_caption/missed"] == 0
    counts = {r.metric: r.n for r in results}
    assert (counts["vqa/presence"], counts["caption/bleu4"], counts["routing/accuracy"]) == (24, 12, 72)
    assert counts["change_caption/bleu4/changed"] == 6
    for result in results:
        assert result.protocol.startswith("generated/") and find_metric(result.protocol).protocol.sentence
        assert np.isfinite(result.value) and result.parse_failures == 0 and result.split == "test"
    json.dumps([r.as_dict() for r in results])


def test_silent_model_is_wrong_everywhere_and_nothing_is_dropped() -> None:
    samples = world(0)
    silent = [Prediction(id=s.id, task=s.task) for s in samples]
    results = score(samples, silent, protocol_prefix="", split="test")
    for result in results:
        bad = result.metric.split("/")[1] in ("false_alarm", "missed")
        assert result.value == (100.0 if bad else 0.0), result
    totals = {r.metric: (r.n, r.parse_failures) for r in results}
    assert totals["caption/bleu1"] == totals["mask/miou"] == (12, 12)
    assert totals["vqa/overall"] == (24, 24)
    assert totals["retrieval/mr"] == (12, 12 + 24)


def test_order_of_predictions_changes_nothing() -> None:
    samples = world(1)
    answers = Baselines(world(0)).majority(samples)
    predictions = [Prediction(id=s.id, task=s.task, text=a, mask=s.mask) for s, a in zip(samples, answers, strict=True)]
    first = score(samples, predictions, protocol_prefix="", split="val")
    second = score(
        samples[::-1], random.Random(0).sample(predictions, len(predictions)), protocol_prefix="", split="val"
    )
    assert values(first) == pytest.approx(values(second), abs=1e-9)


def test_ids_that_do_not_match_are_named() -> None:
    samples = world(0)
    answers = perfect(samples)
    with pytest.raises(UserError, match=r"1 samples without a prediction \(caption-0\)"):
        score(samples, answers[1:], protocol_prefix="", split="test")
    with pytest.raises(UserError, match=r"1 prediction ids that occur twice \(caption-0\)"):
        score(samples, [*answers, answers[0]], protocol_prefix="", split="test")
    with pytest.raises(UserError, match=r"predictions without a sample \(stray\)"):
        score(samples, [*answers, Prediction(id="stray", task="vqa")], protocol_prefix="", split="test")


def test_protocols() -> None:
    assert all("@" in p.id and p.title and p.sentence and p.source for p in protocols())
    with pytest.raises(UserError, match="Did you mean 'caption/coco-ptb@1'"):
        find_metric("generated/caption/coco-ptp@1")
    with pytest.raises(UserError, match="does not score task 'vqa'"):
        score([], [], protocol_prefix="", split="test", protocols={"vqa": "mask/giou@1"})
    samples = [sample(0, "vqa", "how many?", "7", kind="count")]
    answer = [Prediction(id="vqa-0", task="vqa", text="five")]
    binned = score(samples, answer, protocol_prefix="", split="test", protocols={"vqa": "vqa/rsvqa@1"})
    assert values(binned)["vqa/count"] == 100.0 and {r.protocol for r in binned} == {"vqa/rsvqa@1"}


def test_prediction_as_json() -> None:
    row = perfect(world(0))[1].as_dict()
    assert row == json.loads(json.dumps(row))
    assert row["routing"] == {"v": 1.0, "rest": 0.0} and "mask" not in row


def features(samples: list[Sample]) -> torch.Tensor:
    return torch.tensor([[1.0, 0.1] if s.meta["place"] == "lake" else [0.1, 1.0] for s in samples])


def test_baselines() -> None:
    train, test = world(0, 24), world(1)
    baselines = Baselines(train)
    by_id = {s.id: i for i, s in enumerate(test)}
    majority, text_only = baselines.majority(test), baselines.text_only(test)
    nearest = baselines.nearest(test, features(train), features(test))
    assert majority[by_id["vqa-0p"]] == "yes" and text_only[by_id["vqa-0p"]] == "yes"
    assert nearest[by_id["vqa-0p"]] == "no" and nearest[by_id["vqa-1p"]] == "yes"
    assert "wood" in nearest[by_id["caption-0"]] and "lake" in nearest[by_id["caption-1"]]
    assert "lake" in majority[by_id["caption-0"]]  # two thirds of training
    assert majority[by_id["change_caption-0"]] == majority[by_id["change_caption-1"]] == "no change has occurred"

    results = baselines.results(
        test, protocol_prefix="", split="test", train_features=features(train), test_features=features(test)
    )
    assert set(results) == {"majority", "text-only", "nearest neighbour"}
    found = {name: values(rows) for name, rows in results.items()}
    assert found["nearest neighbour"]["vqa/presence"] == 100.0 > found["majority"]["vqa/presence"]
    assert found["text-only"]["mask/miou"] == 100.0 > found["majority"]["mask/miou"] > 50.0
    assert found["majority"]["retrieval/t2i_r1"] == pytest.approx(100 / 12)


def test_text_only_reads_the_question() -> None:
    train = [sample(i, "vqa", "is there a lake?", "no", kind="presence") for i in range(6)]
    train += [sample(10 + i, "vqa", "is there a road?", "yes", kind="presence") for i in range(9)]
    test = [train[0], sample(99, "vqa", "Is there  a LAKE?", "yes", kind="presence")]
    assert Baselines(train).majority(test) == ["yes", "yes"]
    assert Baselines(train).text_only(test) == ["no", "no"]


def test_baselines_never_read_the_test_references() -> None:
    train, test = world(0), world(1)
    blind = [replace(s, responses=("hidden",), kind=s.kind if s.task != "change_caption" else "") for s in test]
    baselines = Baselines(train)
    assert baselines.majority(test) == baselines.majority(blind)
    assert baselines.text_only(test) == baselines.text_only(blind)
    pair = features(train), features(test)
    assert baselines.nearest(test, *pair) == baselines.nearest(blind, *pair)


def test_an_unseen_task_gets_an_empty_answer() -> None:
    vqa = [s for s in world(0) if s.task == "vqa"]
    assert Baselines(vqa).majority([sample(0, "caption", "describe", "a lake")]) == [None]


def test_table() -> None:
    result = Result(metric="vqa/presence", value=80.0, protocol="generated/vqa/exact@1", split="test", n=24)
    worse = replace(result, metric="vqa/count", value=10.0)
    table = results_table(
        [result, worse], {"majority": [replace(result, value=60.0), replace(worse, value=12.0)], "x": []}
    )
    console = Console(width=160, record=True, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    console.print(table)
    text = console.export_text()
    assert "generated/vqa/exact@1 on test" in text
    lines = text.splitlines()
    row = next(line for line in lines if "vqa/presence" in line)
    for cell in ("80.00", "60.00", "–", "24"):
        assert cell in row
    assert [column.header for column in table.columns][:4] == ["metric", "value", "majority", "x"]
    assert [(cell.plain, cell.spans[0].style) for cell in table.columns[1].cells] == [
        ("80.00", "bold green"),
        ("10.00", "red"),
    ]


def boxed(i: int, answer: str, *boxes: tuple[float, ...], **extra: object) -> tuple[Sample, Prediction]:
    given = {"boxes_px": np.array(boxes, dtype=np.float32)} if boxes else {}
    meta = {"box_convention": "pixel_xyxy", "size_px": (100, 100)} | dict(extra.pop("meta", {}))  # type: ignore[call-overload]
    one = sample(i, "ground", "where?", "box", meta=meta, **given, **extra)
    return one, Prediction(id=one.id, task="ground", text=answer)


GROUND = [
    boxed(0, "[10, 10, 50, 50]", (10, 10, 50, 50)),
    boxed(1, "[10, 10, 50, 50] [60, 60, 70, 70] [0, 0, 5, 5]", (10, 10, 50, 60), (60, 60, 70, 70)),
    boxed(2, "near the road", (0, 0, 30, 30)),
    boxed(3, "[90, 90, 10, 10] [0, 0, 9, 9]", (0, 0, 10, 10)),
]


def test_ground_equals_the_metric_and_counts_failures() -> None:
    samples, predictions = zip(*GROUND, strict=True)
    found = {r.metric: r for r in score(samples, predictions, protocol_prefix="", split="test")}
    answers = [parse(p.text, convention="pixel_xyxy", size_px=(100, 100)) for p in predictions]
    rows = [grounding_row(answer, s.boxes_px) for answer, s in zip(answers, samples, strict=True)]
    expected = grounding_tally(rows).values()
    assert (expected["n"], expected["parse_failures"]) == (5, 2)
    for name in ("acc@0.5", "acc@0.7", "miou", "ap@0.5"):
        assert found[f"ground/{name}"].value == pytest.approx(100 * expected[name], abs=1e-4), name
    assert {(r.n, r.parse_failures) for r in found.values()} == {(5, 2)}


def test_oriented_boxes_count_as_their_hull_under_hbb_and_as_polygons_under_obb() -> None:
    true = np.array([[50, 50, 40, 10, 45.0]], dtype=np.float32)
    turned = {"meta": {"box_convention": "pixel_obb"}, "obb_px": true}
    pair = boxed(0, "[50, 50, 10, 40, 45]", **turned)  # the other diagonal: the same hull
    hull, exact = (
        values(score([pair[0]], [pair[1]], protocol_prefix="", split="t", protocols={"ground": name}))
        for name in ("ground/hbb@1", "ground/obb@1")
    )
    assert hull["ground/miou"] == pytest.approx(100, abs=1e-3) and exact["ground/miou"] < 20
    with pytest.raises(UserError, match="no oriented boxes"):
        score([GROUND[0][0]], [GROUND[0][1]], protocol_prefix="", split="t", protocols={"ground": "ground/obb@1"})
    plain = sample(9, "ground", "where?", "box", boxes_px=true[:, :4])
    with pytest.raises(UserError, match="box_convention"):
        score([plain], [Prediction(id=plain.id, task="ground")], protocol_prefix="", split="t")


def test_every_task_has_a_default_protocol_and_every_protocol_its_file() -> None:
    for task in task_names():
        assert task in find_metric(find_task(task).protocol).protocol.tasks
    files = {path.stem for path in (conf_dir() / "metric").glob("*.yaml")}
    assert {re.sub(r"\W", "_", p.id.removesuffix("@1")) for p in protocols()} == files
    for metric in metrics():
        assert set(metric.protocol.tasks) <= set(task_names())
        assert find_metric(metric.protocol.id) is metric
        if metric.chance:
            chance = find_metric(metric.chance)
            assert chance.protocol.tasks == metric.protocol.tasks and not chance.protocol.fields


def test_change_caption_tally_equals_the_metric() -> None:
    samples = [s for s in world(3) if s.task == "change_caption"]
    texts = ["a house is built", "no change has occurred", "", "a new road appears"] * 3
    predictions = [Prediction(id=s.id, task=s.task, text=t) for s, t in zip(samples, texts, strict=True)]
    references, kinds = [s.responses for s in samples], [s.kind for s in samples]
    tally = change_caption_tally(texts, references, kinds, tokenize=whitespace)
    found = values(score(samples, predictions, protocol_prefix="", split="test"))
    expected = {k: 100 * v for k, v in tally.values().items() if k.split("/")[0] not in ("n", "parse_failures")}
    assert {k.removeprefix("change_caption/"): v for k, v in found.items()} == pytest.approx(expected, abs=1e-9)


# ---- sums and their intervals


def test_ratio_and_overlap_at_the_edges() -> None:
    assert np.isnan(ratio(np.float64(0), np.float64(0))) and ratio(np.float64(1), np.float64(4)) == 0.25
    zero, one = np.float64(0), np.float64(1)
    assert overlap(zero, zero, zero) == {"precision": 1, "recall": 1, "f1": 1}, "nothing to find, nothing said"
    assert overlap(zero, zero, one) == {"precision": 0, "recall": 0, "f1": 0}, "silence where there was something"
    assert overlap(zero, one, zero) == {"precision": 0, "recall": 0, "f1": 0}
    assert overlap(one, one, zero) == {"precision": 0.5, "recall": 1, "f1": pytest.approx(2 / 3)}


def share(hits: np.ndarray) -> Tally:
    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {"share": ratio(sums[..., 1], sums[..., 0]), "n": sums[..., 0], "parse_failures": 0 * sums[..., 0]}

    return Tally(rows=np.stack([np.ones(len(hits)), hits], axis=1).astype(float), finish=finish)


@pytest.mark.parametrize("distinct", [False, True])
def test_the_interval_of_a_mean_is_the_one_of_statistics(distinct: bool) -> None:
    """Both ways of drawing: 400 values of two kinds, and 400 values that all differ."""
    rng = np.random.default_rng(0)
    hits = rng.normal(size=400) if distinct else (rng.random(400) < 0.3).astype(float)
    found = intervals(share(hits), draws=4000)["share"]
    half = 1.96 * hits.std() / 20
    assert found.value == pytest.approx(hits.mean())
    assert found.low == pytest.approx(hits.mean() - half, abs=0.06 * 2 * half)
    assert found.high == pytest.approx(hits.mean() + half, abs=0.06 * 2 * half)


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        found = intervals(share((rng.random(150) < 0.4).astype(float)), draws=300, seed=seed)["share"]
        covered += found.low <= 0.4 <= found.high
    assert 180 <= covered <= 199


def test_intervals_do_not_depend_on_the_order_and_repeat_with_the_seed() -> None:
    hits = np.random.default_rng(2).normal(size=50)
    first, again = intervals(share(hits)), intervals(share(hits[::-1]))
    assert first["share"].low == pytest.approx(again["share"].low, abs=1e-12)
    assert first == intervals(share(hits)) != intervals(share(hits), seed=1)


def test_a_paired_difference_is_far_surer_than_two_intervals() -> None:
    rng = np.random.default_rng(3)
    hard = rng.normal(size=300)
    mine, theirs = hard + 0.1 + 0.01 * rng.normal(size=300), hard
    gap = differences(share(mine), share(theirs))["share"]
    alone = intervals(share(mine))["share"]
    assert 0.09 < gap.low < gap.value < gap.high < 0.11 < alone.high - alone.low
    same = differences(share(mine), share(mine))["share"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_type_that_is_seldom_drawn_has_an_interval_all_the_same() -> None:
    part = share(np.array([1.0, 0.0])).part("rare", [0, 1], 40)
    found = intervals(beside(share(np.ones(40)), part), draws=200)
    assert (found["share/rare"].low, found["share/rare"].high) == (0, 1) and found["share"].low == 1
    nobody = Tally(rows=np.zeros((3, 2)), finish=share(np.ones(1)).finish)
    assert np.isnan(intervals(nobody, draws=20)["share"].low)


def test_score_and_compare_carry_intervals() -> None:
    samples = world(0)
    good, silent = perfect(samples), [Prediction(id=s.id, task=s.task) for s in samples]
    wrong = [replace(p, text="no") if s.kind == "presence" else p for s, p in match(samples, good)]
    results = score(samples, wrong, protocol_prefix="", split="test", draws=200)
    assert all(r.low is not None and r.low - 1e-9 <= r.value <= r.high + 1e-9 for r in results)
    assert "low" not in score(samples, wrong, protocol_prefix="", split="test")[0].as_dict()
    gaps = compare(samples, good, wrong, draws=200)
    assert gaps["vqa/overall"].value > 0 and gaps["vqa/overall"].low > 0 == gaps["mask/miou"].value
    assert compare(samples, good, silent, draws=50)["mask/miou"].value == 100.0
    assert not any(name.split("/")[1] in ("n", "parse_failures") for name in gaps)


def test_the_interval_of_bleu_resamples_counts_not_sentences() -> None:
    """BLEU of a resample is a corpus score, not a mean of sentence scores."""
    samples = [s for s in world(5, 30) if s.task == "caption"]
    texts = ["a blue lake near the road" if i % 2 else "a wood" for i in range(len(samples))]
    predictions = [Prediction(id=s.id, task=s.task, text=t) for s, t in zip(samples, texts, strict=True)]
    found = {r.metric: r for r in score(samples, predictions, protocol_prefix="", split="t", draws=400)}
    drawn = []
    rng = random.Random(0)
    for _ in range(60):
        places = [rng.randrange(len(samples)) for _ in samples]
        redrawn = [replace(samples[i], id=f"{n}") for n, i in enumerate(places)]
        answers = [replace(predictions[i], id=f"{n}") for n, i in enumerate(places)]
        drawn.append(values(score(redrawn, answers, protocol_prefix="", split="t"))["caption/bleu4"])
    result = found["caption/bleu4"]
    assert result.low - 3 < np.quantile(drawn, 0.025) < result.value < np.quantile(drawn, 0.975) < result.high + 3
