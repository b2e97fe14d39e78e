import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.metrics.baselines import Baselines
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.protocols import PROTOCOLS, protocol
from rsmoe.metrics.result import Result
from rsmoe.metrics.score import DEFAULT_PROTOCOLS, score
from rsmoe.metrics.table import results_table

IMAGE = np.zeros((8, 8, 3), dtype=np.uint8)


def sample(i: object, task: str, instruction: str, *responses: str, **extra: object) -> Sample:
    return Sample(
        id=f"{task}-{i}",
        images=(IMAGE,),
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
        assert result.protocol.startswith("generated/") and protocol(result.protocol).sentence
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
    assert set(DEFAULT_PROTOCOLS.values()) <= set(PROTOCOLS)
    assert all(key == p.id and "@" in key and p.sentence and p.source for key, p in PROTOCOLS.items())
    with pytest.raises(UserError, match="Did you mean 'caption/coco-ptb@1'"):
        protocol("generated/caption/coco-ptp@1")
    with pytest.raises(UserError, match="does not score task 'vqa'"):
        score([], [], protocol_prefix="", split="test", protocols={"vqa": "caption/coco-ptb@1"})
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
    assert Baselines(vqa).majority([sample(0, "caption", "describe", "a lake")]) == [""]


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
    assert list(table.columns[1].cells) == ["[bold green]80.00[/]", "[red]10.00[/]"]
