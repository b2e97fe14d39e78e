"""Tables over runs: seeds make means, other samples make other tables, and the best is the best."""

from __future__ import annotations

import json
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsmoe.commands.compare import cli, to_latex, to_markdown
from rsmoe.data.sample import Sample
from rsmoe.evaluation.report import card
from rsmoe.evaluation.worst_best import _first, quality
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import compare as paired
from rsmoe.studies.comparison import Comparison, compare
from rsmoe.studies.run_results import find_results


def row(metric: str, value: float, **more: Any) -> dict[str, Any]:
    plain = {"data": "ucm", "data_sha256": "abc", "protocol": "vqa/exact@1", "split": "test", "n": 10}
    return plain | {"metric": metric, "value": value, "parse_failures": 0} | more


def write(folder: Path, name: str, seed: int, results: list[dict[str, Any]], **more: Any) -> Path:
    """``metrics.json`` of one run; each file a second newer than the one before."""
    folder.mkdir(parents=True)
    beside = more.pop("baselines", {"majority": [row("vqa/overall", 12.0)]})
    run = {"name": name, "seed": seed, "config_sha256": f"{name}{seed}", "method_sha256": f"{name}-method"} | more
    (folder / "metrics.json").write_text(json.dumps({"run": run, "results": results, "baselines": beside}))
    made = sum(1 for _ in folder.parent.rglob("metrics.json"))
    os.utime(folder / "metrics.json", (1000 + made, 1000 + made))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    values = {"moe": (71.0, 72.0, 74.5), "dense": (70.0, 71.0)}
    for name, given in values.items():
        for seed, value in enumerate(given):
            found = [
                row("vqa/overall", value),
                row("change_caption/false_alarm", 100 - value, lower_is_better=True),
                row("routing/load", 1.0),
            ]
            near = [row("vqa/overall", value - 5)]
            write(
                tmp_path / name / str(seed), name, seed, found,
                baselines={"majority": [row("vqa/overall", 12.0)], "nearest neighbour": near},
            )  # fmt: skip
    return tmp_path


def tables(*folders: Path, **options: Any) -> tuple[list[Comparison], list[str]]:
    return compare(find_results(folders), **options)


def test_seeds_become_mean_and_deviation(runs: Path) -> None:
    (table,), notes = tables(runs)
    assert not notes and (table.data, table.split, table.n) == ("ucm", "test", 10)
    assert [metric for metric, _ in table.columns] == [
        "vqa/overall",
        "change_caption/false_alarm",
    ]  # routing is left out
    assert table.seeds == {"moe": 3, "dense": 2}
    cell = table.rows["moe"]["vqa/overall", "vqa/exact@1"]
    assert cell.text(2) == ("72.50", f"{statistics.stdev([71.0, 72.0, 74.5]):.2f}")
    text = to_markdown(table, digits=1)
    assert "| moe | 3 | **72.5** ± 1.8 | **27.5** ± 1.8 |" in text  # fewer false alarms are better
    assert "| dense | 2 | 70.5 ± 0.7 | 29.5 ± 0.7 |" in text
    assert "| *majority* |  | 12.0 | – |" in text and "*nearest neighbour (moe)*" in text
    assert "Protocols: vqa/exact@1." in text
    latex = to_latex(table, digits=1)
    assert "moe & 3 & \\textbf{72.5} $\\pm$ 1.8 & \\textbf{27.5} $\\pm$ 1.8 \\\\" in latex
    assert "change\\_caption/false\\_alarm" in latex and latex.count("\\midrule") == 2
    assert {line.count(" & ") for line in latex.splitlines() if line.endswith("\\\\")} == {3}


def test_what_cannot_be_compared_is_kept_apart(tmp_path: Path) -> None:
    write(tmp_path / "a", "a", 0, [row("vqa/overall", 50.0)])
    write(tmp_path / "b", "b", 0, [row("vqa/overall", 90.0, data_sha256="other")])
    write(tmp_path / "c", "c", 0, [row("vqa/overall", 99.0, protocol="vqa/rsvqa@1")])
    found, _ = tables(tmp_path)
    assert [t.sha256 for t in found] == ["abc", "other"]
    assert len(found[0].columns) == 2  # another protocol, another column
    assert not any(cell.best for t in found for cells in t.rows.values() for cell in cells.values())


def test_one_seed_twice_is_no_second_seed(tmp_path: Path) -> None:
    write(tmp_path / "old", "a", 0, [row("vqa/overall", 50.0)])
    write(tmp_path / "new", "a", 0, [row("vqa/overall", 60.0)])
    (table,), notes = tables(tmp_path)
    assert table.rows["a"]["vqa/overall", "vqa/exact@1"].values == (60.0,)
    assert len(notes) == 1 and "old" in notes[0].split(":")[0] and "new" in notes[0]


def test_other_configs_and_checkpoints_are_other_methods(tmp_path: Path) -> None:
    write(tmp_path / "1", "a", 0, [row("vqa/overall", 50.0)], method_sha256="1111111")
    write(tmp_path / "2", "a", 1, [row("vqa/overall", 60.0)], method_sha256="2222222")
    write(tmp_path / "3", "a", 0, [row("vqa/overall", 60.0)], method_sha256="2222222", checkpoint="1-dense")
    (table,), _ = tables(tmp_path)
    assert set(table.rows) == {"a@training#111111", "a@training#222222", "a@1-dense#222222"}
    best = {label for label, cells in table.rows.items() if cells["vqa/overall", "vqa/exact@1"].best}
    assert best == {"a@training#222222", "a@1-dense#222222"}  # both of two equal ones


def written(folder: Path, name: str, seed: int, right: list[bool], config: str = "", **more: Any) -> Path:
    """A run on questions, of which it answers some rightly."""
    found = write(folder, name, seed, [row("vqa/overall", 100 * sum(right) / len(right))], **more)
    lines = [
        {"id": str(i), "task": "vqa", "kind": "count", "text": "yes" if good else "no", "data": "ucm",
         "instruction": "?", "references": ["yes"]}
        for i, good in enumerate(right)
    ]  # fmt: skip
    (found / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (found / "config.yaml").write_text(config or f"seed: {seed}\n")
    return found


def test_methods_are_called_by_what_differs(tmp_path: Path) -> None:
    plain = "seed: {}\nrouter: {{_target_: a.Soft, k: 1}}\nnouns: true\nbypass: {{grid: true}}\n"
    other = "seed: 0\nrouter: {_target_: a.Hash}\nnouns: false\nbypass: {}\n"
    for seed in (0, 1):
        written(tmp_path / str(seed), "moe", seed, [True], plain.format(seed))
    written(tmp_path / "k", "moe", 0, [True], plain.format(0).replace("k: 1", "k: 2"), method_sha256="two")
    written(tmp_path / "other", "moe", 0, [True], other, method_sha256="three")
    written(tmp_path / "lost", "moe", 0, [True], "", method_sha256="four")
    (tmp_path / "lost" / "config.yaml").unlink()
    (table,), _ = tables(tmp_path)
    assert set(table.rows) == {"moe", "moe router.k=2", "moe bypass=none nouns=false router=Hash", "moe#four"}
    (turned,), _ = tables(tmp_path, against=("moe", "", "three"))
    assert {"moe", "moe bypass={grid:true} nouns=true router=Soft#two"} <= set(turned.rows)  # k alone tells it apart
    assert turned.against == "moe" and table.against == ""


def test_starts_of_two_methods_are_told_apart(tmp_path: Path) -> None:
    for seed in (0, 1):
        for method, folder in (("aa", "seen"), ("bb", "unworded")):
            own = {"method_sha256": f"moe-{method}", "start_method": method}
            config = f"seed: {seed}\nstart: runs/{folder}/{seed}\n"
            written(tmp_path / f"{folder}{seed}", "moe", seed, [True], config, **own)
    (table,), _ = tables(tmp_path)
    assert table.seeds == {"moe": 2, "moe start=runs/unworded/0": 2}


def test_differences_are_those_of_the_same_samples(tmp_path: Path) -> None:
    """Of one seed those of `rsmoe.score`'s comparison; of two seeds their mean, with narrower bounds."""
    rng = np.random.default_rng(0)
    base = {seed: (rng.random(400) < 0.5) for seed in (0, 1)}
    better = {seed: given | (rng.random(400) < 0.1) for seed, given in base.items()}
    for name, runs in (("base", base), ("better", better)):
        for seed, right in runs.items():
            written(tmp_path / name / str(seed), name, seed, right.tolist())
    column = ("vqa/overall", "vqa/exact@1")
    (one,), _ = tables(tmp_path / "base" / "0", tmp_path / "better" / "0", against=("base", "", "base-method"))
    gap = one.differences["better"][column]
    ids = [str(i) for i in range(400)]
    samples = [
        Sample(id=i, images=(Path("x"),), instruction="?", responses=("yes",), task="vqa", source="", kind="count")
        for i in sorted(ids)
    ]
    first, second = (
        [Prediction(id=i, task="vqa", kind="count", text="yes" if right[0][int(i)] else "no") for i in sorted(ids)]
        for right in (better, base)
    )
    expected = paired(samples, first, second)["vqa/overall"]
    assert (gap.value, gap.low, gap.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert 0 < gap.low < gap.value < gap.high < 10
    (two,), _ = tables(tmp_path, against=("base", "", "base-method"))
    means = [100 * (better[seed].mean() - base[seed].mean()) for seed in (0, 1)]
    both = two.differences["better"][column]
    assert both.value == pytest.approx(statistics.fmean(means)) and both.high - both.low < gap.high - gap.low
    text = to_markdown(two, digits=1)
    assert f"| better | {both.value:+.1f} [{both.low:.1f}, {both.high:.1f}] |" in text and "Minus base" in text


def test_other_samples_or_no_predictions_have_no_difference(tmp_path: Path) -> None:
    written(tmp_path / "base", "base", 0, [True, False])
    written(tmp_path / "more", "more", 0, [True, False, True])
    written(tmp_path / "seed", "seed", 1, [True, False])
    lost = written(tmp_path / "lost", "lost", 0, [True, False])
    (lost / "predictions.jsonl").unlink()
    (table,), _ = tables(tmp_path, against=("base", "", "base-method"))
    assert table.differences == {} and "Minus" not in to_markdown(table, digits=1)


def test_parts_of_a_benchmark_are_no_results(runs: Path) -> None:
    write(runs / "moe" / "evaluation" / "partial", "part", 0, [row("vqa/overall", 99.0)])
    (table,), _ = tables(runs)
    assert "part" not in table.rows


def test_the_command_takes_folders(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = write(runs / "lr=0.1, it's odd", "odd", 0, [row("vqa/overall", 1.0)])
    words = [str(runs / "moe"), str(odd), "metrics=[vqa/*]", "digits=1", f"out={tmp_path / 'out'}"]
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    cli()
    said = capsys.readouterr().out
    assert "| moe | 3 | **72.5** ± 1.8 |" in said and "| odd | 1 | 1.0 |" in said and "\\begin{tabular}" in said
    assert (tmp_path / "out" / "compare.md").read_text() in said
    assert (tmp_path / "out" / "compare.tex").read_text() in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "runs/*"),
        (["{}/nowhere"], "no folder"),
        (["{}/empty"], "no metrics.json"),
        (["{}/foreign"], "was not written by rsmoe.train"),
        (["{}/moe", "metrics=[vqa/f1]"], "no result matches"),
        (["{}/moe", "format=html"], "one of both"),
        (["{}/moe", "against={}/pair"], "holds 2 methods; give the folder of one run"),
    ],
)
def test_mistakes_say_what_to_type(
    words: list[str], message: str, runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "empty").mkdir()
    (runs / "foreign").mkdir()
    for name in "ab":
        write(runs / "pair" / name, name, 0, [row("vqa/overall", 1.0)])
    (runs / "foreign" / "metrics.json").write_text('{"accuracy": 1}')
    monkeypatch.setattr(sys, "argv", ["compare", *(w.format(runs) for w in words)])
    with pytest.raises(SystemExit) as stop:
        cli()
    assert message in str(stop.value)


def sample(number: int, task: str, reference: str, **more: Any) -> Sample:
    picture = np.full((8, 8, 3), number, dtype=np.uint8)
    return Sample(
        id=f"s{number}", images=(picture,), instruction="?", responses=(reference,), task=task, source="t", **more
    )


def test_the_worst_are_the_worst() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[:4] = True
    boxes = {"box_convention": "minigpt", "size_px": (100, 100)}
    for task, more, right, nearly, wrong in (
        ("vqa", {}, {"text": "Two."}, {"text": "two ships"}, {"text": "no"}),
        ("mask", {"mask": mask}, {"mask": mask}, {"mask": mask & (np.arange(8) < 4)}, {"mask": None}),
        ("ground", {"meta": boxes}, {"text": "{<10><10><50><50>}"}, {"text": "{<10><10><50><30>}"}, {"text": "here"}),
    ):
        reference = "{<10><10><50><50>}" if task == "ground" else "two"
        pairs = [
            (sample(i, task, reference, **more), Prediction(id=f"s{i}", task=task, **given))  # type: ignore[arg-type]
            for i, given in enumerate((nearly, right, wrong))
        ]
        values = quality(pairs)
        assert values[1] == 1.0 and 0.3 < values[0] < 0.8 and values[2] == 0.0, task
        assert _first(values, [s for s, _ in pairs], 2) == [2, 0]
        assert _first([-v for v in values], [s for s, _ in pairs], 1) == [1]


def test_retrieval_is_ordered_by_its_margin() -> None:
    basis = np.eye(3, dtype=np.float32)
    seen = [(basis[0], basis[:1]), (basis[2], basis[1:2]), (None, None)]
    pairs = [
        (
            sample(i, "retrieval", "x"),
            Prediction(id=f"s{i}", task="retrieval", image_embedding=image, text_embeddings=texts),
        )
        for i, (image, texts) in enumerate(seen)
    ]
    assert quality(pairs) == [1.0, 0.0, -2.0]


def test_one_picture_is_shown_once() -> None:
    samples = [sample(i, "vqa", "a") for i in range(6)]
    samples[:5] = [replace(s, images=samples[0].images) for s in samples[:5]]
    first, second = _first([0.0] * 5 + [9.0], samples, 2)
    assert first < 5 and second == 5
    assert len(_first([0.0] * 6, samples, 4)) == 4  # not enough pictures: some twice


def test_boxes_are_shown_as_what_they_cover() -> None:
    meta = {"box_convention": "minigpt", "size_px": (8, 4)}
    box = replace(sample(0, "ground", "{<0><0><50><100>}", meta=meta), images=(np.zeros((4, 8, 3), dtype=np.uint8),))
    shown = card(box, Prediction(id="s0", task="ground", text="{<50><0><100><50>} and no more"))
    assert shown.reference_mask is not None and shown.mask is not None
    assert shown.reference_mask[:, :4].all() and not shown.reference_mask[:, 4:].any()
    assert shown.mask[:2, 4:].all() and shown.mask.sum() == 8
