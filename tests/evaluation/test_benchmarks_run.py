"""Every benchmark runs from end to end: on tiny releases written as their formats say, and on the real files."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from PIL import Image
from support.checkpoints import CALM, tiny_run
from support.models import FIVE_KINDS
from support.readers import write
from support.releases import RELEASES

import rsmoe.evaluation.evaluate_splits
from rsmoe.config import compose, conf_dir
from rsmoe.data.sampling.spread import spread
from rsmoe.errors import UserError
from rsmoe.evaluate import cli, evaluate
from rsmoe.evaluation.benchmark import Benchmark
from rsmoe.evaluation.score_files import score_files
from rsmoe.metrics import find_metric
from rsmoe.metrics.scoring import metric_of

BENCHMARKS = sorted(path.stem for path in (conf_dir() / "benchmark").glob("*.yaml"))
EXPERTS = f"{FIVE_KINDS[:-1]},ground]"
BASELINES = {"majority", "text-only", "nearest neighbour"}
LIMIT = 5


FEWER = (
    "benchmark.scenes.reader.size=25",  # of which five are one of each task
    "benchmark.scenes_retrieval.reader.size=12",
    "benchmark.rsieval_generated.reader.scenes={train: 4, test: 3}",
    "benchmark.changechat_generated.reader.scenes={train: 4, test: 3}",
)
"""Generated data, of which nothing has to be written, but which takes time to draw."""
DRAWN = {"changechat_presence", "dior_rsvg", "geobench_vlm", "levir_cc", "rrsis_d", "rsvqa_lr", "ucm_retrieval"}
"""Every kind of card: of each task, of one date, two and three. The others are named alone."""


def composed(*words: str) -> dict[str, Any]:
    """What is typed behind ``python -m rsmoe.evaluate`` comes to."""
    always = [f"limit={LIMIT}", "max_new=3", "draws=20", "neighbours=50", "pictures=1"]
    config: dict[str, Any] = OmegaConf.to_container(compose([*always, *words], name="evaluate"), resolve=True)  # type: ignore[assignment]
    return config


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with an expert for every task, for any number of dates."""
    return tiny_run(tmp_path_factory.mktemp("run"), "temporal=frames", experts=EXPERTS, steps=1)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny release of every reader that a benchmark has."""
    folder = tmp_path_factory.mktemp("data")
    for put in RELEASES.values():
        put(folder)
    return folder


@pytest.fixture(scope="session")
def every(checkpoint: Path, home: Path) -> dict[str, Any]:
    """The config of all benchmarks together: one that takes ten times as long to compose as a case to run."""
    cache = f"+benchmark.rsieval_generated.reader.root={home / 'cache'}"
    names = ",".join(BENCHMARKS)
    return composed(f"checkpoint={checkpoint}", f"data.root={home}", f"benchmark=[{names}]", *FEWER, cache)


def no_constant(name: str) -> float:
    raise AssertionError(f"metrics.json holds {name}, which is no json")


def check(folder: Path, name: str, node: Mapping[str, Any], root: Path, *, pictures: int = 1) -> dict[str, Any]:
    """What every report of a benchmark must hold, against samples that are read here again."""
    data = Benchmark.from_config(name, node, root=str(root)).data
    samples = [data[i] for i in spread(len(data), LIMIT)]  # type: ignore[arg-type]
    folder = folder / name / "partial" if len(samples) < len(data) else folder / name  # type: ignore[arg-type]
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(), parse_constant=no_constant)
    asked = found["benchmark"]
    assert (asked["name"], asked["split"], asked["n"]) == (name, node["split"], len(samples))
    prefix = data.protocol  # type: ignore[attr-defined]
    protocols = {s.task: prefix + metric_of(s.task, node.get("protocols")).protocol.id for s in samples}
    results = [r for r in found["results"] if not r["metric"].startswith("routing/")]
    assert {r["metric"].split("/")[0]: r["protocol"] for r in results} == protocols
    for result in found["results"]:
        assert result["split"] == node["split"] and result["data"] == name and len(result["data_sha256"]) == 16
        assert all(math.isfinite(result[key]) for key in ("value", "low", "high")), result
        assert result["low"] <= result["high"] and result["n"] > 0 and result["parse_failures"] >= 0, result
    for task in protocols:
        parts = {r["metric"].split("/")[-1]: r["n"] for r in results if r["metric"].startswith(f"{task}/")}
        asked_of = sum(s.task == task for s in samples)
        assert max(parts.values()) >= asked_of or sum(parts.values()) == asked_of  # apart, by what a question asks for
    run = found["run"]
    assert all((r["config_sha256"], r["seed"]) == (run["config_sha256"], run["seed"]) for r in found["results"])
    chance = prefix + find_metric(protocols["retrieval"]).chance if "retrieval" in protocols else ""
    check_baselines(found, node, protocols, chance=chance)

    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert [(r["id"], r["task"], r["instruction"], r["references"]) for r in rows] == [
        (s.id, s.task, s.instruction, list(s.responses)) for s in samples
    ]
    assert all(math.isclose(sum(r["routing"].values()), 1, abs_tol=1e-4) for r in rows)
    report = (folder / "report.md").read_text()
    for task, own in {t: [s.id for s in samples if s.task == t] for t in protocols}.items():
        for which in ("worst", "best"):
            after = report.split(f"## The {which}: {task.replace('_', ' ')}\n")[1].split("\n## ")[0]
            assert 0 < len(after.split("`")[1::2]) <= len(own) and set(after.split("`")[1::2]) <= set(own)
            assert (f"![]({which}-{task}.jpg)" in after) == (folder / f"{which}-{task}.jpg").exists() == bool(pictures)
            if pictures:
                with Image.open(folder / f"{which}-{task}.jpg") as picture:
                    assert picture.format == "JPEG" and min(picture.size) > 200
    assert all(f"- `{p}`: " in report for p in protocols.values())
    return found


def check_baselines(
    found: Mapping[str, Any], node: Mapping[str, Any], protocols: Mapping[str, str], *, chance: str
) -> None:
    """All three beside every answered task that training has; chance beside retrieval; none where none is learned."""
    tasks: dict[str, set[str]] = {}
    for name, results in found["baselines"].items():
        for r in results:
            task = r["metric"].split("/")[0]
            tasks.setdefault(task, set()).add(name)
            assert math.isfinite(r["value"])
            assert r["protocol"] == (chance if task == "retrieval" else protocols[task])
    learned = set(protocols) if node["train"] else set()
    if "train_reader" in node:
        learned = {"caption"}  # RSICap has no question
    expected = {task: {"majority"} if task == "retrieval" else BASELINES for task in learned | {"retrieval"}}
    assert tasks == {task: names for task, names in expected.items() if task in protocols}


def test_every_benchmark_on_disk_has_a_release(every: Mapping[str, Any]) -> None:
    """A new yaml needs a writer in tests/releases.py."""
    assert list(every["benchmark"]) == BENCHMARKS
    readers = {node["reader"]["name"] for node in every["benchmark"].values() if "name" in node["reader"]}
    assert readers == set(RELEASES)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs(name: str, every: dict[str, Any], home: Path, tmp_path: Path) -> None:
    node = every["benchmark"][name]
    pictures = int(name in DRAWN)
    evaluate(every | {"benchmark": {name: node}, "out": str(tmp_path), "pictures": pictures})
    check(tmp_path, name, node, home, pictures=pictures)


def test_several_in_one_run(checkpoint: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["changechat_count", "changechat_dialogue", "geobench_vlm"]
    words = [f"checkpoint={checkpoint}", f"data.root={home}", f"out={tmp_path}", "max_new=3", "draws=0", "pictures=0"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *words, f"benchmark=[{','.join(names)}]", "limit=2"])
    cli()
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    found = {n: json.loads(next((tmp_path / n).rglob("metrics.json")).read_text()) for n in names}
    assert {n: f["benchmark"]["n"] for n, f in found.items()} == dict.fromkeys(names, 2)
    assert {n: f["results"][0]["protocol"] for n, f in found.items()} == {
        "changechat_count": "change/counts@1",
        "changechat_dialogue": "change-vqa/changechat@1",
        "geobench_vlm": "vqa/multiple-choice@1",
    }


def test_captions_of_change_by_the_words_of_the_release(
    checkpoint: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answers under another protocol: nothing is asked again, and the number is that of `rsmoe.score`."""
    given = composed(
        f"checkpoint={checkpoint}", f"data.root={home}", f"out={tmp_path}", "benchmark=levir_cc", "pictures=0"
    )
    evaluate(given)
    monkeypatch.setattr(rsmoe.evaluation.evaluate_splits, "answer_batch", lambda *a, **k: pytest.fail("it asked again"))
    node, ids = given["benchmark"]["levir_cc"], "change-caption/levir-ids@1"
    ours = {"levir_cc": node | {"protocols": {"change_caption": ids}}}
    evaluate(given | {"benchmark": ours})
    found = check(tmp_path, "levir_cc", ours["levir_cc"], home, pictures=0)
    assert found["benchmark"]["vocabulary_words"] == len(json.loads((home / "levir_cc/vocab.json").read_text()))
    scored = score_files(
        protocol=ids, predictions=tmp_path / "levir_cc/predictions.jsonl", vocabulary=home / "levir_cc/vocab.json",
        references=home / "levir_cc/LevirCCcaptions.json", draws=0,
    )  # fmt: skip
    values = {r["metric"]: r["value"] for r in found["results"] if "routing" not in r["metric"]}
    assert values == pytest.approx({r["metric"]: r["value"] for r in scored["results"]})
    for vocabulary, message in (
        (None, "benchmark.levir_cc.vocabulary=/path/to/vocab.json"),
        ("none.json", "none.json does not exist"),
        (str(write(tmp_path / "words.json", ["a"])), "{word: id}"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            evaluate(given | {"benchmark": {"levir_cc": ours["levir_cc"] | {"vocabulary": vocabulary}}})


def test_three_dates_are_refused_before_anything_is_asked(home: Path, tmp_path: Path) -> None:
    pairs = tiny_run(tmp_path / "run", *CALM, steps=1)
    config = composed(f"checkpoint={pairs}", f"data.root={home}", f"out={tmp_path / 'out'}", "benchmark=geobench_vlm")
    with pytest.raises(UserError, match=r"geobench_vlm, sample .*3 dates.*temporal=frames"):
        evaluate(config)
    assert not (tmp_path / "out").exists()
    evaluate(config | {"limit": 1})  # of one date


SKIP = ("reader.missing_images=skip", "split=train")
REAL: dict[str, tuple[str, ...]] = {
    "levir_cc": (*SKIP, "protocols.change_caption=change-caption/levir-ids@1"),
    "nwpu_vhr10": (),
    "rsicd_captions": ("split=val",),
    "rsicd_retrieval": ("split=val",),
    "rsivqa_rsicd": ("split=val",),
    "rsivqa_ucm": (),
    "rsvqa_lr": (),
    "ucm_captions": (),
    "ucm_retrieval": (),
}
"""Benchmarks with real files, and what has to be said of copies that are not whole."""


@pytest.fixture(scope="session")
def real(checkpoint: Path) -> dict[str, Any]:
    words = [f"benchmark.{name}.{word}" for name, more in REAL.items() for word in more]
    root = f"data.root={os.environ['RSMOE_DATA']}"
    return composed(f"checkpoint={checkpoint}", root, f"benchmark=[{','.join(REAL)}]", *words, "neighbours=8")


@pytest.mark.real_data
def test_every_benchmark_with_real_files_is_run_on_them(every: Mapping[str, Any]) -> None:
    here = {path.name for path in Path(os.environ["RSMOE_DATA"]).iterdir()}
    name_of = {name: node["reader"].get("name", "").split("_rsicd")[0].split("_ucm")[0]
               for name, node in every["benchmark"].items()}  # fmt: skip
    assert {name for name, reader in name_of.items() if reader in here} <= set(REAL)


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_a_benchmark_runs_on_real_files(name: str, real: dict[str, Any], tmp_path: Path) -> None:
    node = real["benchmark"][name]
    evaluate(real | {"benchmark": {name: node}, "out": str(tmp_path), "pictures": int(name == "levir_cc")})
    check(tmp_path, name, node, Path(os.environ["RSMOE_DATA"]), pictures=int(name == "levir_cc"))
