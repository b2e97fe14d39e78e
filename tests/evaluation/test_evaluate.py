"""Benchmarks: what a yaml joins, answers that survive an interruption, numbers with what stands beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image
from support.checkpoints import CALM, tiny_run
from support.models import requests, tiny_model
from support.runs import Listed

import rsmoe.evaluate
import rsmoe.evaluation.evaluate_splits
from rsmoe.config import compose, conf_dir
from rsmoe.data.readers.recast import Recast
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluate import cli
from rsmoe.evaluation.answer_job import AnswerJob
from rsmoe.evaluation.benchmark import Benchmark
from rsmoe.evaluation.prediction_lines import from_row, to_line
from rsmoe.metrics import find_metric
from rsmoe.metrics.prediction import Prediction

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(p.stem for p in (conf_dir() / "benchmark").glob("*.yaml"))
CAPTIONS = ("a grey harbour with two ships .", "boats lie next to the pier .", "a green forest .", "there is a road .")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the checkpoint of two steps."""
    return tiny_run(tmp_path_factory.mktemp("run"), *CALM)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """UCM-Captions as its release is, with 8 images of train and 7 of test."""
    home = tmp_path_factory.mktemp("data")
    (home / "ucm_captions" / "images").mkdir(parents=True)
    rows = []
    for i in range(15):
        picture = np.random.default_rng(i).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(picture).save(home / "ucm_captions" / "images" / f"{i}.png")
        sentences = [{"raw": CAPTIONS[(i + j) % 4], "sentid": 5 * i + j, "imgid": i, "tokens": []} for j in range(2)]
        rows.append({"filename": f"{i}.tif", "imgid": i, "split": "train" if i < 8 else "test", "sentences": sentences})
    (home / "ucm_captions" / "dataset_ucm.json").write_text(json.dumps({"images": rows, "dataset": "UCM"}))
    return home


Call = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(run: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """``python -m rsmoe.evaluate`` in this process: its exit code and all that it said."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["evaluate", *always(run, data), *words])
        code = 0
        try:
            cli()
        except SystemExit as stop:
            code = 1
            print(stop.code)
        return code, "".join(capsys.readouterr())

    return call


@pytest.fixture
def evaluate(run: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The same without the command line, which composes every config three times."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str]:
        code = 0
        try:
            config = compose([*always(run, data), *words], name="evaluate")
            rsmoe.evaluate.evaluate(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
        except UserError as error:
            code = 1
            print(error)
        return code, "".join(capsys.readouterr())

    return call


def always(run: Path, data: Path) -> list[str]:
    return [f"checkpoint={run}", f"data.root={data}", "batch_size=3", "beams=1", "max_new=4"]


def lines(folder: Path) -> list[bytes]:
    """All answers that are kept."""
    return [line for p in sorted((folder / "answers").iterdir()) for line in p.read_bytes().splitlines()]


def test_captions_are_answered_scored_and_shown(typed: Call, run: Path, tmp_path: Path) -> None:
    code, said = typed("benchmark=ucm_captions", f"out={tmp_path}")
    assert code == 0, said
    folder = tmp_path / "ucm_captions"
    metrics = json.loads((folder / "metrics.json").read_text())
    results = {r["metric"]: r for r in metrics["results"]}
    cider = results["caption/cider_d"]
    said_of = (cider["protocol"], cider["split"], cider["n"], cider["data"])
    assert said_of == ("caption/coco-ptb@1", "test", 7, "ucm_captions")
    assert cider["low"] <= cider["value"] <= cider["high"]
    assert set(metrics["baselines"]) == {"majority", "text-only", "nearest neighbour"}
    assert all(b["protocol"] == "caption/coco-ptb@1" for rows in metrics["baselines"].values() for b in rows)
    assert len(cider["data_sha256"]) == 16 and metrics["benchmark"]["data_sha256"].startswith(cider["data_sha256"])
    assert metrics["run"]["seed"] == 0 and len(metrics["run"]["config_sha256"]) == 16
    assert metrics["run"]["checkpoint"] == "1-learn" and len(metrics["run"]["checkpoint_sha256"]) == 64
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 7 and all(len(r["references"]) == 2 and r["data"] == "ucm_captions" for r in rows)
    report = (folder / "report.md").read_text()
    assert f"| caption/cider_d | {cider['value']:.2f} [" in report and "8 of 8 samples of ucm_captions" in report
    for name in ("worst-caption.jpg", "best-caption.jpg"):
        assert name in report
        with Image.open(folder / name) as picture:
            assert picture.format == "JPEG" and picture.width > 1000
    assert "caption/cider_d" in said and "ucm_captions" in said


def test_a_job_that_was_killed_goes_on_with_what_is_missing(
    evaluate: Call, typed: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert evaluate("benchmark=ucm_captions", f"out={whole}", "pictures=0")[0] == 0
    real = rsmoe.evaluation.evaluate_splits.answer_batch
    asked: list[int] = []

    def answer(*args: Any, **options: Any) -> list[Prediction]:
        asked.append(len(args[2]))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(rsmoe.evaluation.evaluate_splits, "answer_batch", answer)
    code, said = typed("benchmark=ucm_captions", f"out={killed}", "pictures=0")
    assert code == 1 and "Start the same command again" in said
    assert len(lines(killed / "ucm_captions")) == 3 and not (killed / "ucm_captions" / "metrics.json").exists()
    (file,) = (killed / "ucm_captions" / "answers").iterdir()
    with file.open("ab") as half:
        half.write(b'{"asked": "0123", "id": "4')  # a line that a full disk cut
    assert evaluate("benchmark=ucm_captions", f"out={killed}", "pictures=0")[0] == 0
    assert asked == [3, 3, 3, 1]
    assert evaluate("benchmark=ucm_captions", f"out={killed}", "pictures=0")[0] == 0
    assert len(asked) == 4  # nothing was left to ask
    for name in ("predictions.jsonl", "metrics.json", "report.md"):
        assert (killed / "ucm_captions" / name).read_bytes() == (whole / "ucm_captions" / name).read_bytes()


def test_a_part_keeps_out_of_the_way_of_the_whole(evaluate: Call, tmp_path: Path) -> None:
    folder = tmp_path / "ucm_captions"
    code, said = evaluate("benchmark=ucm_captions", f"out={tmp_path}", "limit=2", "pictures=0")
    assert code == 0, said
    part = json.loads((folder / "partial" / "metrics.json").read_text())
    assert (part["benchmark"]["n"], part["benchmark"]["of"], part["benchmark"]["limit"]) == (2, 7, 2)
    assert "2 of 7 samples" in (folder / "partial" / "report.md").read_text()
    assert not (folder / "metrics.json").exists()
    asked = [json.loads(line)["id"] for line in lines(folder)]
    assert asked == ["8.tif", "13.tif"], "one of each half of seven"
    wanted = asked[1]
    assert evaluate("benchmark=ucm_captions", f"out={tmp_path}", f"sample_ids=['{wanted}']", "pictures=0")[0] == 0
    rows = (folder / "partial" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(r)["id"] for r in rows] == [wanted] and len(lines(folder)) == 2
    code, said = evaluate("benchmark=ucm_captions", f"out={tmp_path}", "sample_ids=[nowhere]")
    assert code == 1 and "no sample nowhere" in said and asked[0] in said


def test_answers_that_came_about_otherwise_are_refused(evaluate: Call, run: Path, data: Path, tmp_path: Path) -> None:
    words = ("benchmark=ucm_captions", f"out={tmp_path}", "limit=1", "draws=0", "pictures=0")
    assert evaluate(*words)[0] == 0
    code, said = evaluate(*words, "max_new=3")
    assert code == 1 and "max_new was 4 and is 3" in said and "out=..." in said
    code, said = evaluate(*words, "+benchmark.ucm_captions.prompt=describe this image")
    assert code == 1 and "its request or its references have changed" in said
    (tmp_path / "ucm_captions" / "job.json").write_text(
        (tmp_path / "ucm_captions" / "job.json")
        .read_text()
        .replace('"checkpoint_sha256": "', '"checkpoint_sha256": "0')
    )
    code, said = evaluate(*words)
    assert code == 1 and "checkpoint_sha256 was '0" in said


def test_a_dry_run_says_what_would_be_asked(evaluate: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsmoe.evaluation.evaluate_splits, "answer_batch", lambda *a, **k: pytest.fail("it asked"))
    code, said = evaluate("benchmark=[ucm_captions,ucm_retrieval]", f"out={tmp_path}", "dry=true")
    assert code == 0, said
    for text in (
        "7 images, 14 captions", "the release states 210 images", "7 of 7; 7 caption", "0 of 7 are answered",
        "caption/coco-ptb@1: BLEU", "8 of 8 samples of ucm_captions, split train", "8.png", "describe this image",
        "7 retrieval", "retrieval/all-captions@1: R@1", "a grey harbour",
    ):  # fmt: skip
        assert text in said, text
    assert not list(tmp_path.iterdir())


def test_captions_and_classes_become_retrieval(evaluate: Call, data: Path, tmp_path: Path) -> None:
    for i, scene in enumerate(("Forest", "River", "Highway")):
        (tmp_path / "eurosat" / scene).mkdir(parents=True)
        for j in range(3):
            pixels = np.random.default_rng(3 * i + j).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "eurosat" / scene / f"{scene}_{j}.jpg")
    code, said = evaluate(
        "benchmark=[ucm_retrieval,eurosat_zero_shot]", f"out={tmp_path / 'out'}", "pictures=0", "draws=20",
        "benchmark.eurosat_zero_shot.reader.classes=[forest,river,highway]",
        f"benchmark.eurosat_zero_shot.reader.root={tmp_path / 'eurosat'}",
        "benchmark.eurosat_zero_shot.reader.test_fraction=0.7",
    )  # fmt: skip
    assert code == 0, said
    found = json.loads((tmp_path / "out" / "ucm_retrieval" / "metrics.json").read_text())
    results = {r["metric"]: r for r in found["results"]}
    assert results["retrieval/mr"]["n"] == 7 and 0 <= results["retrieval/mr"]["value"] <= 100
    assert {r["metric"] for r in found["baselines"]["majority"]} >= {"retrieval/mr"}
    found = json.loads((tmp_path / "out" / "eurosat_zero_shot" / "metrics.json").read_text())
    assert {r["protocol"] for r in found["results"] if "routing" not in r["metric"]} == {"zero-shot/top1@1"}
    rows = (tmp_path / "out" / "eurosat_zero_shot" / "predictions.jsonl").read_text().splitlines()
    texts = {json.loads(r)["references"][0] for r in rows}
    assert texts == {f"a satellite image of {c}" for c in ("forest", "river", "highway")}
    assert "this benchmark has none" in found["benchmark"]["baselines"]


@pytest.mark.slow
def test_two_processes_give_the_answers_of_one(evaluate: Call, run: Path, data: Path, tmp_path: Path) -> None:
    assert evaluate("benchmark=ucm_captions", f"out={tmp_path / 'one'}", "draws=0", "pictures=0")[0] == 0
    words = [
        f"checkpoint={run}", f"data.root={data}", "batch_size=3", "beams=1", "max_new=4", "benchmark=ucm_captions",
        f"out={tmp_path / 'two'}", "draws=0", "ranks.devices=2", "ranks.accelerator=cpu", "pictures=0",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "rsmoe.evaluate", *words], cwd=ROOT, env=dict(os.environ), capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = [len(p.read_bytes().splitlines()) for p in sorted((tmp_path / "two" / "ucm_captions" / "answers").iterdir())]
    assert own == [4, 3]  # batches 0 and 2, batch 1
    for name in ("predictions.jsonl", "metrics.json"):
        one, two = ((tmp_path / n / "ucm_captions" / name).read_bytes() for n in ("one", "two"))
        assert one == two


def prediction(sample: Sample, **more: Any) -> Prediction:
    return Prediction(id=sample.id, task=sample.task, kind=sample.kind, text="a text – ½\n{", **more)


def test_ranks_share_the_batches_whatever_was_answered(tmp_path: Path) -> None:
    samples = [replace(requests()[0], id=f"s{i}") for i in range(10)]
    jobs = [AnswerJob(tmp_path, facts={"beams": 1}, rank=r, world=3) for r in range(3)]
    parts = [job.batches(samples, 2) for job in jobs]
    assert sorted(i for part in parts for batch in part for i in batch) == list(range(10))
    for batch in parts[1]:
        jobs[1].append([prediction(samples[i]) for i in batch], [samples[i] for i in batch])
    again = [AnswerJob(tmp_path, facts={"beams": 1}, rank=r, world=3).batches(samples, 2) for r in range(3)]
    assert again == [parts[0], [], parts[2]]
    alone = AnswerJob(tmp_path, facts={"beams": 1})  # another number of ranks, and other batches
    left = alone.batches(samples, 3)
    assert {i for batch in left for i in batch} >= {i for part in (parts[0], parts[2]) for b in part for i in b}
    with pytest.raises(UserError, match="6 of 10 samples have no answer"):
        alone.predictions(samples)
    for batch in left:
        alone.append([prediction(samples[i]) for i in batch], [samples[i] for i in batch])
    assert [p.id for p in alone.predictions(samples)] == [s.id for s in samples]
    assert len(lines(tmp_path)) == 10  # none twice


def test_a_prediction_survives_its_line_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    sample = requests()[0]
    mask = rng.random((5, 7)) > 0.5
    given = prediction(
        sample, weights=(0.1, 1 / 3), experts=("a", "b"), mask=mask, masks=(mask, ~mask), ranking=("x", "y"),
        image_embedding=rng.standard_normal(3).astype(np.float32),
        text_embeddings=rng.standard_normal((2, 3)).astype(np.float32),
    )  # fmt: skip
    line = to_line(given, sample)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    back = from_row(json.loads(line))
    for name, value in vars(given).items():
        np.testing.assert_equal(getattr(back, name), value)
    assert type(back.weights) is tuple and back.image_embedding is not None and back.image_embedding.dtype == np.float32


def test_recast_keeps_ids_and_counts() -> None:
    data = Listed(requests())
    asked = Recast(data, task="retrieval", prompt="embed: {instruction}", response="a view of {response}")
    assert len(asked) == len(data) and asked.name == "Listed"
    sample, was = asked[0], data[0]
    assert (sample.id, sample.task, sample.instruction) == (was.id, "retrieval", f"embed: {was.instruction}")
    assert sample.responses == tuple(f"a view of {r}" for r in was.responses)
    assert Recast(data, prompt="what is on the left ?")[0].directional
    several = Recast(data, prompt=["describe it .", "what is there ?", "{instruction}"])
    asked_for = [several[i].instruction for i in range(4)]
    assert asked_for == ["describe it .", "what is there ?", data[2].instruction, "describe it ."]
    with pytest.raises(UserError, match=r"prompt=\[\]: expected a request"):
        Recast(data, prompt=[])
    with pytest.raises(UserError, match="Did you mean 'retrieval'"):
        Recast(data, task="retrival")
    with pytest.raises(UserError, match=r"put \{response\} into it"):
        Recast(data, response="a view")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_joins_what_exists(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    config = compose(["checkpoint=x", f"benchmark={name}"], name="evaluate")["benchmark"]
    assert list(config) == [name]
    for task, chosen in (config[name].get("protocols") or {}).items():
        assert task in find_metric(chosen).protocol.tasks
    text = (conf_dir() / "benchmark" / f"{name}.yaml").read_text()
    assert "train" in yaml.safe_load(text)  # said, even where there is none
    if config[name]["reader"]["_target_"].startswith(("rsmoe.scenes.", "rsmoe.scenes.scene_changes.")):
        return
    with pytest.raises(UserError, match=config[name]["reader"]["name"].split("_")[0]):  # an empty folder, by its name
        Benchmark.from_config(name, OmegaConf.to_container(config[name]), root=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "benchmark=<name>"),
        (("benchmark=ucm_caption",), "Did you mean 'ucm_captions'"),
        (("benchmark=ucm_captions", "limit=0"), "from 1 on"),
        (("benchmark=ucm_captions", "+benchmark.ucm_captions.spilt=val"), "Did you mean 'split'"),
        (("benchmark=ucm_captions", "benchmark.ucm_captions.split=vall"), "unknown split"),
        (("benchmark=ucm_captions", "benchmark.ucm_captions.protocols.caption=caption/coco@1"), "caption/coco-ptb@1"),
        (("benchmark=rsicd_captions",), "rsicd"),
    ],
)
def test_mistakes_say_what_to_type(words: tuple[str, ...], message: str, evaluate: Call, tmp_path: Path) -> None:
    code, said = evaluate(*words, f"out={tmp_path}")
    assert code == 1 and message in said


def test_a_model_without_the_head_is_refused(run: Path) -> None:
    model = tiny_model(experts="expert=[theme,vqa]")
    bench = Benchmark(name="b", data=Listed(requests()), train=None, beams=1, max_new=4)
    with pytest.raises(UserError, match="asks for mask, and this model has no expert for it"):
        bench.require_heads(model, requests())
    bench.require_heads(tiny_model(), requests())
